//! Fits a task's drafter: a linear classifier on the frozen encoder that guesses the tags that the decoder will write.
//!
//! It learns what the trained model says, not what the corpus says: one pass of the decoder over each training target
//! shows which tag the model would choose at each word behind the tags before it.

use std::collections::{BTreeMap, HashMap};

use hyperloader_core::drafter::{OUTSIDE, ROLES, names, read_from, tag_count};
use hyperloader_core::labels::LabelSet;
use hyperloader_core::sentt::{SentT, SentTError};
use hyperloader_core::tensors::Tensors;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor, no_grad};

use crate::data::{Batch, Example, TaskData};
use crate::model::{Mode, Tagger, TaggerError};
use crate::optimizer::{AbsentGradient, AdamW};
use crate::parameters::{Parameters, to_host};
use crate::schedule::{Decay, Schedule};

/// Training sentences that are looked at, at most.
const SENTENCES: usize = 8000;
/// Sentences of a pass.
const BATCH: usize = 32;
/// Words of an update.
const WORDS: usize = 512;
/// Times that every word is learnt from.
const EPOCHS: usize = 12;
/// Highest learning rate, for states of unit size; it falls to 0.
const LEARNING_RATE: f64 = 0.02;

/// A drafter could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] TaggerError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
}

/// Words with the tags that the model gives them.
struct Words {
    /// The encoder's states in each role, `[words, roles * d_model]`; 0 where there is none.
    states: Tensor,
    /// Rows of a table of sets of tags (see [`Teacher::sets`]), `[words]`: the tag is one of the set.
    tags: Tensor,
    /// Tags of the words before, `[words]`.
    previous: Tensor,
}

/// The tensors of the drafter of a task (see [`names`]), fitted on its training examples. The same on every run on
/// the same device.
///
/// # Errors
/// If the model or the tokenizer fails.
pub fn fit(tagger: &Tagger, codec: &SentT, data: &TaskData, seed: u64) -> Result<Tensors, FitError> {
    let TaskData { name: task, labels, train: examples, .. } = data;
    let tags = tag_count(labels.len());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut random);
    order.truncate(SENTENCES);
    let teacher = Teacher::new(tagger, codec, task, labels)?;
    let parts = order
        .chunks(BATCH)
        .map(|chunk| teacher.words(&chunk.iter().map(|&at| &examples[at]).collect::<Vec<_>>()))
        .collect::<Result<Vec<_>, _>>()?;
    let join = |part: fn(&Words) -> &Tensor| Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0);
    let words =
        Words { states: join(|w| &w.states), tags: join(|w| &w.tags), previous: join(|w| &w.previous) };
    drop(parts);
    let sets = teacher.sets();
    let (weight, bias, transitions) = classifier(words, &sets, &mut random);
    let d = tagger.t5.config.d_model as i64;
    let rows = (ROLES * tags) as i64;
    // `[roles * d_model, tags]` -> `[roles * tags, d_model]`; what does not depend on a state is added once.
    let weight = weight.view([ROLES as i64, d, tags as i64]).transpose(1, 2).reshape([rows, d]);
    let bias = Tensor::cat(&[bias, Tensor::zeros([rows - tags as i64], (Kind::Float, tagger.device()))], 0);
    let tensors =
        [(names::weight(task), weight), (names::bias(task), bias), (names::transitions(task), transitions)];
    Ok(tensors.into_iter().map(|(name, tensor)| (name, to_host(&tensor))).collect())
}

/// Says what the model would write.
struct Teacher<'a> {
    tagger: &'a Tagger,
    codec: &'a SentT,
    task: &'a str,
    /// Their number.
    tags: usize,
    /// Tags by their ids.
    by_ids: HashMap<Vec<i64>, usize>,
    /// The tags that begin with an id.
    by_first: BTreeMap<i64, Vec<usize>>,
}

impl<'a> Teacher<'a> {
    fn new(
        tagger: &'a Tagger,
        codec: &'a SentT,
        task: &'a str,
        labels: &LabelSet,
    ) -> Result<Self, SentTError> {
        let (mut by_ids, mut by_first) = (HashMap::new(), BTreeMap::<i64, Vec<usize>>::new());
        for (tag, name) in ["O", "I"].into_iter().chain(labels.iter()).enumerate() {
            let ids: Vec<i64> = codec.word(&name)?.iter().map(|id| i64::from(*id)).collect();
            if let Some(first) = ids.first() {
                by_first.entry(*first).or_default().push(tag);
            }
            by_ids.entry(ids).or_insert(tag);
        }
        Ok(Self { tagger, codec, task, tags: tag_count(labels.len()), by_ids, by_first })
    }

    /// `[sets, tags]`, 1 for each tag of a set: each tag alone, the tags that share their first id, all tags.
    fn sets(&self) -> Tensor {
        let tags = self.tags;
        let alone = (0..tags).map(|tag| vec![tag]);
        let sets: Vec<Vec<usize>> =
            alone.chain(self.by_first.values().cloned()).chain([(0..tags).collect()]).collect();
        let mut table = vec![0.0_f32; sets.len() * tags];
        for (set, row) in sets.iter().zip(table.chunks_mut(tags)) {
            set.iter().for_each(|&tag| row[tag] = 1.0);
        }
        Tensor::from_slice(&table).view([-1, tags as i64]).to_device(self.tagger.device())
    }

    /// The set that a tag is in whose first id the model chose where the corpus has `written`.
    fn set(&self, written: &[i64], first: i64) -> usize {
        let shared = || self.by_first.keys().position(|id| *id == first);
        match self.by_ids.get(written) {
            Some(tag) if written.first() == Some(&first) => *tag,
            _ => self.tags + shared().unwrap_or(self.by_first.len()),
        }
    }

    /// The words of `examples`, a batch.
    fn words(&self, examples: &[&Example]) -> Result<Words, TaggerError> {
        let t5 = &self.tagger.t5;
        let device = self.tagger.device();
        let Batch { input_ids, attention_mask, labels } =
            Batch::new(examples, t5.config.pad_token_id, device);
        let weights = no_grad(|| self.tagger.task_weights(self.task))?;
        let (source_len, target_len, d) = (input_ids.size()[1], labels.size()[1], t5.config.d_model as i64);
        let mut at = Vec::new();
        let (mut choices, mut gold) = (Vec::new(), Vec::new());
        for (row, example) in (0_i64..).zip(examples) {
            let sentinels = self.sentinels(&example.source);
            let slots = self.sentinels(&example.target);
            for (word, slot) in slots.windows(2).enumerate() {
                // Row 0 holds no state.
                let place = |at: Option<usize>| at.map_or(0, |at| 1 + row * source_len + at as i64);
                at.extend(read_from(&sentinels, word).map(place));
                choices.push(row * target_len + slot[0] as i64 + 1);
                gold.push((word, &example.target[slot[0] + 1..slot[1]]));
            }
        }
        let (states, chosen) = no_grad(|| {
            let encoded = t5.encode(&weights, &input_ids, &attention_mask, Mode::Evaluation);
            let shifted = t5.shift_right(&labels);
            let decoded = t5.decode(&weights, &shifted, &encoded, &attention_mask, Mode::Evaluation);
            let picked =
                decoded.reshape([-1, d]).index_select(0, &Tensor::from_slice(&choices).to_device(device));
            let chosen = t5.logits(&picked).argmax(-1, false);
            let none = Tensor::zeros([1, d], (encoded.kind(), device));
            let states = Tensor::cat(&[none, encoded.reshape([-1, d])], 0);
            let states = states.index_select(0, &Tensor::from_slice(&at).to_device(device));
            (states.view([-1, ROLES as i64 * d]), chosen)
        });
        let mut firsts = vec![0_i64; choices.len()];
        chosen.copy_data(&mut firsts, choices.len());
        let (mut tags, mut previous) = (Vec::new(), Vec::new());
        let mut before = OUTSIDE;
        for ((word, ids), first) in gold.into_iter().zip(firsts) {
            if word == 0 {
                before = OUTSIDE;
            }
            tags.push(self.set(ids, first) as i64);
            previous.push(before as i64);
            before = self.by_ids.get(ids).copied().unwrap_or(OUTSIDE);
        }
        let ids = |tags: &[i64]| Tensor::from_slice(tags).to_device(device);
        Ok(Words { states, tags: ids(&tags), previous: ids(&previous) })
    }

    /// Where the sentinels of a sequence stand, up to the first gap in their numbers.
    fn sentinels(&self, ids: &[i64]) -> Vec<usize> {
        let index = |id: i64| u32::try_from(id).ok().and_then(|id| self.codec.sentinel_index(id));
        let mut places = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if index(*id) == Some(places.len()) {
                places.push(at);
            }
        }
        places
    }
}

/// Logistic regression: weight `[roles * d_model, tags]`, bias `[tags]` and transitions `[tags, tags]`. Where only a set of
/// tags is known, the likelihood of the whole set is maximised.
fn classifier(words: Words, sets: &Tensor, random: &mut ChaCha8Rng) -> (Tensor, Tensor, Tensor) {
    let Words { states, tags: wanted, previous } = words;
    let (count, tags) = (states.size()[0], sets.size()[1]);
    // States of unit size, so that one learning rate serves all backbones.
    let size = states.square().mean(None).sqrt().clamp_min(1e-6);
    let states = states / &size;
    let mut parameters =
        zeros(&[(WEIGHT, &[states.size()[1], tags]), (BIAS, &[tags]), (TABLE, &[tags, tags])], sets);
    let mut optimizer = AdamW::new(&parameters, 0.0, AbsentGradient::Skip);
    let updates = EPOCHS * (count as usize).div_ceil(WORDS);
    let schedule = Schedule { base: LEARNING_RATE, warmup: 0, total: updates as u64, decay: Decay::Linear };
    let mut order: Vec<i64> = (0..count).collect();
    let mut done = 0;
    for _ in 0..EPOCHS {
        order.shuffle(random);
        for chunk in order.chunks(WORDS) {
            let at = Tensor::from_slice(chunk).to_device(states.device());
            let pick = |tensor: &Tensor| tensor.index_select(0, &at);
            let [weight, bias, table] = of(&parameters);
            let scores = pick(&states).matmul(weight) + bias + table.index_select(0, &pick(&previous));
            // What is outside of a word's set is as good as impossible.
            let outside = (1.0 - sets.index_select(0, &pick(&wanted))) * -1e9;
            let over = [-1_i64];
            let possible: Tensor = &scores + outside;
            let within = possible.logsumexp(over.as_slice(), false);
            let loss = (scores.logsumexp(over.as_slice(), false) - within).mean(None);
            parameters.backward(&loss);
            optimizer.step(&mut parameters, schedule.lr(done), f64::INFINITY);
            done += 1;
        }
    }
    let [weight, bias, table] = of(&parameters).map(Tensor::detach);
    (weight / size, bias, table)
}

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const TABLE: &str = "transitions";

/// Tensors of zeros where `beside` lies, to be trained.
fn zeros(shapes: &[(&str, &[i64])], beside: &Tensor) -> Parameters {
    let zero = |(name, shape): &(&str, &[i64])| {
        ((*name).to_owned(), to_host(&Tensor::zeros(*shape, (Kind::Float, Device::Cpu))))
    };
    Parameters::from_tensors(&shapes.iter().map(zero).collect(), beside.device())
}

fn of(parameters: &Parameters) -> [&Tensor; 3] {
    [WEIGHT, BIAS, TABLE].map(|name| parameters.get(name).expect("it was made"))
}

#[cfg(test)]
mod tests {
    use hyperloader_core::drafter::INSIDE;

    use super::*;

    #[test]
    fn the_classifier_learns_what_states_and_neighbours_tell() {
        // Tag 2 where the state says so, `I` behind tag 2 or `I` where it says otherwise, else `O`.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut bits: Vec<i64> = (0..2000).map(|k| k % 2).collect();
        bits.shuffle(&mut random);
        let mut previous = vec![OUTSIDE as i64];
        let mut tags = Vec::new();
        for (k, bit) in bits.iter().enumerate() {
            let before = previous[k];
            let tag = match (bit, before) {
                (1, 0) => 2,
                (1, _) => INSIDE as i64,
                _ => OUTSIDE as i64,
            };
            tags.push(tag);
            previous.push(tag);
        }
        previous.pop();
        let states: Vec<f32> = bits.iter().flat_map(|bit| [1.0, *bit as f32 - 0.5, 0.3, -0.1]).collect();
        let words = Words {
            states: Tensor::from_slice(&states).view([-1, 4]),
            tags: Tensor::from_slice(&tags),
            previous: Tensor::from_slice(&previous),
        };
        let x = words.states.copy();
        let before = words.previous.copy();
        let sets = Tensor::eye(3, (Kind::Float, Device::Cpu));
        let (weight, bias, transitions) = classifier(words, &sets, &mut random);
        let scores = x.matmul(&weight) + bias + transitions.index_select(0, &before);
        let wrong = scores.argmax(-1, false).not_equal_tensor(&Tensor::from_slice(&tags)).sum(Kind::Int64);
        assert_eq!(wrong.int64_value(&[]), 0);
    }

    #[test]
    fn a_set_of_tags_is_told_apart_by_words_whose_tag_is_known() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        // States tell tags apart, but half of the words say only that their tag is 1 or 2.
        let tags: Vec<i64> = (0..900).map(|k| k % 3).collect();
        let known: Vec<i64> =
            tags.iter().enumerate().map(|(k, tag)| if *tag > 0 && k % 2 == 0 { 3 } else { *tag }).collect();
        let words = Words {
            states: Tensor::from_slice(&tags).one_hot(3).to_kind(Kind::Float),
            tags: Tensor::from_slice(&known),
            previous: Tensor::zeros([900], (Kind::Int64, Device::Cpu)),
        };
        let x = words.states.copy();
        let sets = Tensor::from_slice(&[1_f32, 0., 0., 0., 1., 0., 0., 0., 1., 0., 1., 1.]).view([4, 3]);
        let (weight, bias, _) = classifier(words, &sets, &mut random);
        let scores = x.matmul(&weight) + bias;
        let wrong = scores.argmax(-1, false).not_equal_tensor(&Tensor::from_slice(&tags)).sum(Kind::Int64);
        assert_eq!(wrong.int64_value(&[]), 0);
    }
}
