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
use tch::{Kind, Tensor, no_grad};

use crate::data::{Batch, Example, TaskData};
use crate::model::{Mode, Tagger, TaggerError};
use crate::parameters::to_host;

/// Training sentences that are looked at, at most.
const SENTENCES: usize = 2000;
/// Sentences of a pass.
const BATCH: usize = 32;
/// Words of an update.
const WORDS: i64 = 512;
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
    // `[tags, roles * d_model]` -> `[roles * tags, d_model]`; what does not depend on a state is added once.
    let weight = weight.view([tags as i64, ROLES as i64, d]).transpose(0, 1).reshape([rows, d]);
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

/// Logistic regression by Adam: weight `[tags, roles * d_model]`, bias `[tags]` and transitions `[tags, tags]`. Where only
/// a set of tags is known, the likelihood of the whole set is maximised.
fn classifier(words: Words, sets: &Tensor, random: &mut ChaCha8Rng) -> (Tensor, Tensor, Tensor) {
    let tags = sets.size()[1];
    let Words { states, tags: wanted, previous } = words;
    let (count, width) = (states.size()[0], states.size()[1]);
    let device = states.device();
    let size = states.square().mean(None).sqrt().clamp_min(1e-6);
    let states = states / &size;
    // A row for each input: the states, a constant, and the tag before.
    let inputs = width + 1 + tags;
    let mut weight = Tensor::zeros([inputs, tags], (Kind::Float, device));
    let (mut mean, mut square) = (weight.zeros_like(), weight.zeros_like());
    let batches = (count + WORDS - 1) / WORDS;
    let updates = EPOCHS as i64 * batches;
    let mut order: Vec<i64> = (0..count).collect();
    let mut update = 0;
    for _ in 0..EPOCHS {
        order.shuffle(random);
        for chunk in order.chunks(WORDS as usize) {
            update += 1;
            let at = Tensor::from_slice(chunk).to_device(device);
            let before = previous.index_select(0, &at).one_hot(tags).to_kind(Kind::Float);
            let constant = Tensor::ones([chunk.len() as i64, 1], (Kind::Float, device));
            let x = Tensor::cat(&[states.index_select(0, &at), constant, before], 1);
            let guess = x.matmul(&weight).softmax(-1, Kind::Float);
            let within = &guess * sets.index_select(0, &wanted.index_select(0, &at));
            let share = within.sum_dim_intlist([-1_i64].as_slice(), true, Kind::Float).clamp_min(1e-9);
            let errors = guess - within / share;
            let gradient = x.transpose(0, 1).matmul(&errors) / chunk.len() as f64;
            let (b1, b2) = (0.9_f64, 0.99_f64);
            mean = mean * b1 + &gradient * (1.0 - b1);
            square = square * b2 + gradient.square() * (1.0 - b2);
            let rate = LEARNING_RATE * (1.0 - (update - 1) as f64 / updates as f64);
            let unbiased = |sum: &Tensor, decay: f64| sum / (1.0 - decay.powi(update));
            let step = unbiased(&mean, b1) / (unbiased(&square, b2).sqrt() + 1e-8);
            weight -= step * rate;
        }
    }
    let states = weight.narrow(0, 0, width) / size;
    let rest = |from, length| weight.narrow(0, from, length);
    (states.transpose(0, 1).contiguous(), rest(width, 1).squeeze_dim(0), rest(width + 1, tags))
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
        let sets = Tensor::eye(3, (Kind::Float, tch::Device::Cpu));
        let (weight, bias, transitions) = classifier(words, &sets, &mut random);
        let scores = x.matmul(&weight.transpose(0, 1)) + bias + transitions.index_select(0, &before);
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
            previous: Tensor::zeros([900], (Kind::Int64, tch::Device::Cpu)),
        };
        let x = words.states.copy();
        let sets = Tensor::from_slice(&[1_f32, 0., 0., 0., 1., 0., 0., 0., 1., 0., 1., 1.]).view([4, 3]);
        let (weight, bias, _) = classifier(words, &sets, &mut random);
        let scores = x.matmul(&weight.transpose(0, 1)) + bias;
        let wrong = scores.argmax(-1, false).not_equal_tensor(&Tensor::from_slice(&tags)).sum(Kind::Int64);
        assert_eq!(wrong.int64_value(&[]), 0);
    }
}
