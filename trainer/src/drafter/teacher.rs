//! The tags that the trained model predicts for the words of training sentences.
//!
//! The decoder reads whole targets: first those of the corpus, then those that it chose in the round before (Jacobi
//! decoding, Santilli et al. 2023). After a few rounds most targets are those of greedy decoding. A round takes one forward
//! pass per batch, of the targets that changed in the round before; greedy decoding takes one per token.

use hyperloader_core::text::drafter::{ROLES, read_from};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::target::{OUTSIDE, Tag, TargetGrammar};
use hyperloader_core::weights::task::TaskWeights;
use serde::{Deserialize, Serialize};
use tch::kind::Element;
use tch::{Device, Tensor, no_grad};

use crate::data::batch::{Batch, padded};
use crate::data::example::Example;
use crate::model::error::ModelError;
use crate::model::t5::Mode;
use crate::model::t5::tagger::T5Tagger;

/// The number of rounds.
const ROUNDS: usize = 4;

/// Words with the tags that the model predicts for them.
pub(super) struct Words {
    /// The encoder's states in each role, `[words, roles * d_model]`; 0 for a role without a state.
    pub(super) states: Tensor,
    /// Indices of sets of tags (see [`Teacher::sets`]), `[words]`: the tag of the word is in the set.
    pub(super) tags: Tensor,
    /// The tags of the previous words, `[words]`.
    pub(super) previous: Tensor,
}

/// [`Words`] in main memory, which processes exchange.
#[derive(Serialize, Deserialize)]
pub(super) struct HostWords {
    states: Vec<f32>,
    tags: Vec<i64>,
    previous: Vec<i64>,
}

impl From<Words> for HostWords {
    fn from(Words { states, tags, previous }: Words) -> Self {
        Self { states: numbers(&states), tags: numbers(&tags), previous: numbers(&previous) }
    }
}

impl HostWords {
    /// The words of all `parts`, in their order, on a device. Each has `width` numbers as states.
    pub(super) fn joined(parts: Vec<Self>, width: usize, device: Device) -> Words {
        let (mut states, mut tags, mut previous) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            states.extend(part.states);
            tags.extend(part.tags);
            previous.extend(part.previous);
        }
        Words {
            states: Tensor::from_slice(&states).view([tags.len() as i64, width as i64]).to_device(device),
            tags: Tensor::from_slice(&tags).to_device(device),
            previous: Tensor::from_slice(&previous).to_device(device),
        }
    }
}

/// The elements of a tensor, row by row.
fn numbers<T: Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut numbers = vec![T::default(); tensor.numel()];
    tensor.copy_data(&mut numbers, tensor.numel());
    numbers
}

/// Predicts the tags of training sentences with the trained model.
pub(super) struct Teacher<'a> {
    tagger: &'a T5Tagger,
    task: &'a str,
    grammar: TargetGrammar,
    /// The ids of well-formed targets, `[ids]`.
    ids: Tensor,
}

impl<'a> Teacher<'a> {
    pub(super) fn new(
        tagger: &'a T5Tagger,
        codec: &'a SentT,
        task: &'a str,
        labels: &LabelSet,
    ) -> Result<Self, SentTError> {
        let grammar = TargetGrammar::new(codec, labels.iter())?;
        let ids = grammar.vocabulary().into_iter().chain([grammar.eos()]).map(i64::from);
        let mut legal: Vec<i64> = ids.filter(|id| *id < tagger.t5.config.vocab_size as i64).collect();
        legal.sort_unstable();
        legal.dedup();
        let ids = Tensor::from_slice(&legal).to_device(tagger.device());
        Ok(Self { tagger, task, grammar, ids })
    }

    /// `[sets, tags]`, 1 for each tag of a set.
    pub(super) fn sets(&self) -> Tensor {
        let (tags, sets) = (self.grammar.tags(), self.grammar.sets());
        let mut table = vec![0.0_f32; sets.len() * tags];
        for (set, row) in sets.iter().zip(table.chunks_mut(tags)) {
            set.iter().for_each(|&tag| row[tag] = 1.0);
        }
        Tensor::from_slice(&table).view([-1, tags as i64]).to_device(self.tagger.device())
    }

    /// The words of `examples`, a batch.
    pub(super) fn words(&self, examples: &[&Example]) -> Result<Words, ModelError> {
        let t5 = &self.tagger.t5;
        let Batch { input_ids, attention_mask, .. } =
            Batch::new(examples, t5.config.pad_token_id, self.tagger.device());
        let weights = no_grad(|| self.tagger.task_weights(self.task))?;
        let encoded = no_grad(|| t5.encode(&weights, &input_ids, &attention_mask, Mode::Evaluation));
        let mut written: Vec<Vec<Tag>> = examples.iter().map(|example| self.gold(example)).collect();
        let sets = self.rounds(&weights, [&encoded, &attention_mask], &mut written);
        let previous = written.iter().flat_map(|tags| {
            std::iter::once(OUTSIDE).chain(tags.iter().copied()).take(tags.len()).map(|tag| tag as i64)
        });
        let tensor = |numbers: Vec<i64>| Tensor::from_slice(&numbers).to_device(self.tagger.device());
        Ok(Words {
            states: self.states(examples, &written, &encoded),
            tags: tensor(sets.into_iter().flatten().map(|set| set as i64).collect()),
            previous: tensor(previous.collect()),
        })
    }

    /// Rewrites the targets with these tags until the decoder chooses them again, in [`ROUNDS`] at most. Returns the index of the
    /// set that each word's tag is in.
    fn rounds(
        &self,
        weights: &TaskWeights<Tensor>,
        source: [&Tensor; 2],
        written: &mut [Vec<Tag>],
    ) -> Vec<Vec<usize>> {
        let mut sets = vec![Vec::new(); written.len()];
        // A target that is chosen again stays: the next round reads the others.
        let mut open: Vec<usize> = (0..written.len()).collect();
        for round in 1..=ROUNDS {
            let rows = Tensor::from_slice(&open.iter().map(|row| *row as i64).collect::<Vec<_>>());
            let source = source.map(|tensor| tensor.index_select(0, &rows.to_device(tensor.device())));
            let targets: Vec<&[Tag]> = open.iter().map(|row| &*written[*row]).collect();
            let chosen = self.chosen(weights, &source, &targets);
            open.iter().zip(chosen).for_each(|(row, chosen)| sets[*row] = chosen);
            if round < ROUNDS {
                open.retain(|row| self.rewrite(&mut written[*row], &sets[*row]));
            }
            if open.is_empty() {
                break;
            }
        }
        sets
    }

    /// The gold tags of an example, as far as its target goes.
    fn gold(&self, example: &Example) -> Vec<Tag> {
        let target = &example.target;
        let slots = self.grammar.sentinels().positions(target.iter().copied());
        let tag = |slot: &[usize]| self.grammar.tag(&target[slot[0] + 1..slot[1]]).unwrap_or(OUTSIDE);
        slots.windows(2).map(tag).collect()
    }

    /// Targets with these tags, `[rows, target_len]`, and the flat indices of the ids of each tag and of the id after it.
    fn targets(&self, tags: &[&[Tag]]) -> (Tensor, Tensor) {
        let device = self.tagger.device();
        let mut places = Vec::new();
        let mut targets = Vec::new();
        for (row, tags) in tags.iter().enumerate() {
            // Each tag comes after a sentinel.
            let mut start = 1;
            for tag in *tags {
                let end = start + self.grammar.ids(*tag).len();
                places.extend((start..=end).map(|at| (row, at)));
                start = end + 1;
            }
            targets.push(self.grammar.encode(tags));
        }
        let target_ids = padded(&targets, self.tagger.t5.config.pad_token_id);
        let length = target_ids.size()[1];
        let places: Vec<i64> = places.into_iter().map(|(row, at)| row as i64 * length + at as i64).collect();
        (target_ids.to_device(device), Tensor::from_slice(&places).to_device(device))
    }

    /// The index of the set that each word's tag is in, for each of the targets `written`. `source` has their encoder's states
    /// and attention mask.
    fn chosen(
        &self,
        weights: &TaskWeights<Tensor>,
        [encoded, attention_mask]: &[Tensor; 2],
        written: &[&[Tag]],
    ) -> Vec<Vec<usize>> {
        let t5 = &self.tagger.t5;
        let (target_ids, places) = self.targets(written);
        let chosen = no_grad(|| {
            let shifted = t5.shift_right(&target_ids);
            let decoded = t5.decode(weights, &shifted, encoded, attention_mask, Mode::Evaluation);
            let picked = decoded.reshape([-1, t5.config.d_model as i64]).index_select(0, &places);
            t5.head.likeliest(&picked, &self.ids)
        });
        // The decoder's choices for each word in turn: those at the ids of its written tag and the one after them.
        let chosen = ids(&chosen);
        let mut rest = &*chosen;
        let mut set = |tag: &Tag| {
            let (word, after) = rest.split_at(self.grammar.ids(*tag).len() + 1);
            rest = after;
            self.grammar.chosen_set(*tag, word)
        };
        written.iter().map(|tags| tags.iter().map(&mut set).collect()).collect()
    }

    /// Writes a tag of the chosen set for each word. Returns whether a tag changed.
    fn rewrite(&self, written: &mut [Tag], sets: &[usize]) -> bool {
        let mut changed = false;
        for (tag, set) in written.iter_mut().zip(sets) {
            let likely = likely(&self.grammar.sets()[*set], *tag);
            changed |= likely != *tag;
            *tag = likely;
        }
        changed
    }

    /// The encoder's states of each word in each role, `[words, roles * d_model]`.
    fn states(&self, examples: &[&Example], tags: &[Vec<usize>], encoded: &Tensor) -> Tensor {
        let (source_len, d) = (encoded.size()[1], encoded.size()[2]);
        let mut at = Vec::new();
        for ((row, example), tags) in (0_i64..).zip(examples).zip(tags) {
            let sentinels = self.grammar.sentinels().positions(example.source.iter().copied());
            // Row 0 holds no state.
            let place = |at: Option<usize>| at.map_or(0, |at| 1 + row * source_len + at as i64);
            at.extend((0..tags.len()).flat_map(|word| read_from(&sentinels, word)).map(place));
        }
        let none = Tensor::zeros([1, d], (encoded.kind(), encoded.device()));
        let states = Tensor::cat(&[none, encoded.reshape([-1, d])], 0);
        let states = states.index_select(0, &Tensor::from_slice(&at).to_device(encoded.device()));
        states.view([-1, ROLES as i64 * d])
    }
}

/// A tag of a set: `written` if the set has it, else the first.
fn likely(set: &[Tag], written: Tag) -> Tag {
    if set.contains(&written) { written } else { set[0] }
}

/// Token ids from a tensor of ids.
fn ids(tensor: &Tensor) -> Vec<u32> {
    numbers::<i64>(tensor).into_iter().map(|id| id as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_tag_is_kept_as_long_as_it_is_possible() {
        assert_eq!((likely(&[2, 3], 3), likely(&[2, 3], 0), likely(&[0, 1, 2, 3, 4], 4)), (3, 2, 4));
    }
}
