//! Fits a task's drafter: a linear classifier on the encoder's states that predicts the tags the decoder will generate.
//!
//! - [`fit`] trains the classifier.
//! - `teacher`: the tags that it learns, which are those of the trained model and not those of the corpus.

mod teacher;

use hyperloader_core::text::drafter::{ROLES, names};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::tag_count;
use hyperloader_core::weights::tensors::Tensors;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use self::teacher::{HostWords, Teacher, Words};
use crate::data::task::TaskData;
use crate::model::error::ModelError;
use crate::model::t5::tagger::T5Tagger;
use crate::optimizer::{AbsentGradient, AdamW};
use crate::parallel::Group;
use crate::parameters::{Parameters, to_host};
use crate::schedule::{Decay, Schedule};

/// The most training sentences that are used.
const SENTENCES: usize = 8000;
/// The number of sentences of a forward pass.
const BATCH: usize = 32;
/// The number of words of an update.
const WORDS: usize = 512;
/// The number of epochs.
const EPOCHS: usize = 12;
/// The highest learning rate, for states of unit size. It decreases to 0.
const LEARNING_RATE: f64 = 0.02;

/// Fits the drafter of a task on its training examples and returns its tensors (see [`names`]). The same `seed` gives the
/// same tensors on the same device. The processes of `group` share the passes of the model; each then fits the classifier.
///
/// # Errors
/// If the model or the tokenizer fails, or another process failed.
pub(crate) fn fit(
    tagger: &T5Tagger,
    codec: &SentT,
    data: &TaskData,
    seed: u64,
    group: &Group,
) -> Result<Tensors, ModelError> {
    let TaskData { name: task, labels, .. } = data;
    let tags = tag_count(labels.len());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut examples = data.train.sample(SENTENCES, &mut random)?;
    // Batches of similar length have less padding.
    examples.sort_by_key(|example| example.source.len());
    let teacher = Teacher::new(tagger, codec, task, labels)?;
    let chunks: Vec<_> = examples.chunks(BATCH).collect();
    let parts = group.map(chunks.len(), |number| {
        let examples: Vec<_> = chunks[number].iter().map(|example| &**example).collect();
        Ok::<_, ModelError>(HostWords::from(teacher.words(&examples)?))
    })?;
    let width = ROLES * tagger.t5.config.d_model;
    let words = HostWords::joined(parts, width, tagger.device());
    let sets = teacher.sets();
    let (weight, bias, transitions) = classifier(words, &sets, &mut random);
    let d = tagger.t5.config.d_model as i64;
    let rows = (ROLES * tags) as i64;
    // `[roles * d_model, tags]` -> `[roles * tags, d_model]`. The bias is added for the first role only.
    let weight = weight.view([ROLES as i64, d, tags as i64]).transpose(1, 2).reshape([rows, d]);
    let bias = Tensor::cat(&[bias, Tensor::zeros([rows - tags as i64], (Kind::Float, tagger.device()))], 0);
    let tensors =
        [(names::weight(task), weight), (names::bias(task), bias), (names::transitions(task), transitions)];
    Ok(tensors.into_iter().map(|(name, tensor)| (name, to_host(&tensor))).collect())
}

/// Logistic regression: weight `[roles * d_model, tags]`, bias `[tags]` and transitions `[tags, tags]`. If only a set of tags
/// is known for a word, the likelihood of the set is maximized.
fn classifier(words: Words, sets: &Tensor, random: &mut ChaCha8Rng) -> (Tensor, Tensor, Tensor) {
    let Words { states, tags: wanted, previous } = words;
    let (count, tags) = (states.size()[0], sets.size()[1]);
    // Unit size, so that one learning rate fits all backbones.
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
            // Tags outside the set of the word get no probability.
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

/// Trainable tensors of zeros on the device of `beside`.
fn zeros(shapes: &[(&str, &[i64])], beside: &Tensor) -> Parameters {
    let zero = |(name, shape): &(&str, &[i64])| {
        ((*name).to_owned(), to_host(&Tensor::zeros(*shape, (Kind::Float, Device::Cpu))))
    };
    Parameters::from_tensors(&shapes.iter().map(zero).collect(), beside.device())
}

fn of(parameters: &Parameters) -> [&Tensor; 3] {
    [WEIGHT, BIAS, TABLE].map(|name| parameters.get(name).expect("`zeros` created it"))
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::target::{INSIDE, OUTSIDE};

    use super::*;

    #[test]
    fn the_classifier_learns_from_states_and_previous_tags() {
        // Bit 1: tag 2 after `O`, else `I`. Bit 0: `O`.
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
    fn words_with_known_tags_separate_the_tags_of_a_set() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        // States separate the tags, but half of the words with tag 1 or 2 only say that it is one of the two.
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
