//! What the trained model says of the words of training sentences.
//!
//! The decoder is asked about whole targets, first those of the corpus, then those that it chose the time before (Jacobi
//! decoding, Santilli et al. 2023): after a few times most are what it writes by itself, at a pass each in place of one for
//! every token.

use hyperloader_core::text::drafter::{ROLES, read_from};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::target::{OUTSIDE, Tag, TargetGrammar};
use tch::{Tensor, no_grad};

use crate::data::{Batch, Example, padded};
use crate::model::{Mode, Tagger, TaggerError};

/// Times that the decoder is asked.
const ROUNDS: usize = 4;

/// Words with the tags that the model gives them.
pub(super) struct Words {
    /// The encoder's states in each role, `[words, roles * d_model]`; 0 where there is none.
    pub(super) states: Tensor,
    /// Rows of a table of sets of tags (see [`Teacher::sets`]), `[words]`: the tag is one of the set.
    pub(super) tags: Tensor,
    /// Tags of the words before, `[words]`.
    pub(super) previous: Tensor,
}

/// Says what the model would write.
pub(super) struct Teacher<'a> {
    tagger: &'a Tagger,
    task: &'a str,
    grammar: TargetGrammar,
    /// The ids of well-formed targets, `[ids]`.
    ids: Tensor,
}

impl<'a> Teacher<'a> {
    pub(super) fn new(
        tagger: &'a Tagger,
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
    pub(super) fn words(&self, examples: &[&Example]) -> Result<Words, TaggerError> {
        let t5 = &self.tagger.t5;
        let Batch { input_ids, attention_mask, .. } =
            Batch::new(examples, t5.config.pad_token_id, self.tagger.device());
        let weights = no_grad(|| self.tagger.task_weights(self.task))?;
        let encoded = no_grad(|| t5.encode(&weights, &input_ids, &attention_mask, Mode::Evaluation));
        let mut written: Vec<Vec<Tag>> = examples.iter().map(|example| self.gold(example)).collect();
        let chosen_sets = |written: &[Vec<Tag>]| {
            let (labels, places) = self.targets(written);
            let chosen = no_grad(|| {
                let shifted = t5.shift_right(&labels);
                let decoded = t5.decode(&weights, &shifted, &encoded, &attention_mask, Mode::Evaluation);
                let d = t5.config.d_model as i64;
                let picked = decoded.reshape([-1, d]).index_select(0, &places);
                t5.head.likeliest(&picked, &self.ids)
            });
            self.chosen_sets(written, &ids(&chosen))
        };
        for _ in 1..ROUNDS {
            let sets = chosen_sets(&written);
            for (tag, set) in written.iter_mut().flatten().zip(sets) {
                *tag = likely(&self.grammar.sets()[set], *tag);
            }
        }
        let sets = chosen_sets(&written);
        let previous = written.iter().flat_map(|tags| {
            std::iter::once(OUTSIDE).chain(tags.iter().copied()).take(tags.len()).map(|tag| tag as i64)
        });
        let tensor = |numbers: Vec<i64>| Tensor::from_slice(&numbers).to_device(self.tagger.device());
        Ok(Words {
            states: self.states(examples, &written, &encoded),
            tags: tensor(sets.into_iter().map(|set| set as i64).collect()),
            previous: tensor(previous.collect()),
        })
    }

    /// The corpus' tags of an example, as far as its target goes.
    fn gold(&self, example: &Example) -> Vec<Tag> {
        let target = to_ids(&example.target);
        let slots = self.grammar.sentinels().positions(target.iter().copied());
        let tag = |slot: &[usize]| self.grammar.tag(&target[slot[0] + 1..slot[1]]).unwrap_or(OUTSIDE);
        slots.windows(2).map(tag).collect()
    }

    /// Targets with these tags, `[rows, target_len]`, and the places in it, flattened, of each word's tag and of what
    /// follows it.
    fn targets(&self, tags: &[Vec<Tag>]) -> (Tensor, Tensor) {
        let device = self.tagger.device();
        let mut places = Vec::new();
        let mut targets = Vec::new();
        for (row, tags) in tags.iter().enumerate() {
            // Each tag comes after a sentinel.
            let mut start = 1;
            for tag in tags {
                let end = start + self.grammar.ids(*tag).len();
                places.extend((start..=end).map(|at| (row, at)));
                start = end + 1;
            }
            targets.push(self.grammar.encode(tags).into_iter().map(i64::from).collect::<Vec<_>>());
        }
        let rows: Vec<&[i64]> = targets.iter().map(Vec::as_slice).collect();
        let labels = padded(&rows, self.tagger.t5.config.pad_token_id);
        let length = labels.size()[1];
        let places: Vec<i64> = places.into_iter().map(|(row, at)| row as i64 * length + at as i64).collect();
        (labels.to_device(device), Tensor::from_slice(&places).to_device(device))
    }

    /// The set of tags that each word's tag is in; `chosen` are the decoder's choices at each id of the `written` tag and
    /// after it, one word after the other.
    fn chosen_sets(&self, written: &[Vec<Tag>], mut chosen: &[u32]) -> Vec<usize> {
        let mut sets = Vec::new();
        for tag in written.iter().flatten() {
            let word;
            (word, chosen) = chosen.split_at(self.grammar.ids(*tag).len() + 1);
            sets.push(self.grammar.chosen_set(*tag, word));
        }
        sets
    }

    /// The encoder's states that each word is read from, `[words, roles * d_model]`.
    fn states(&self, examples: &[&Example], tags: &[Vec<usize>], encoded: &Tensor) -> Tensor {
        let (source_len, d) = (encoded.size()[1], encoded.size()[2]);
        let mut at = Vec::new();
        for ((row, example), tags) in (0_i64..).zip(examples).zip(tags) {
            let sentinels = self.grammar.sentinels().positions(to_ids(&example.source));
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

/// A tag of a set: the one that was written, if it can be.
fn likely(set: &[Tag], written: Tag) -> Tag {
    if set.contains(&written) { written } else { set[0] }
}

/// Token ids from a tensor of ids.
fn ids(tensor: &Tensor) -> Vec<u32> {
    let mut numbers = vec![0_i64; tensor.numel()];
    tensor.copy_data(&mut numbers, tensor.numel());
    to_ids(&numbers)
}

/// Token ids; a number that is none becomes an id that no vocabulary has.
fn to_ids(numbers: &[i64]) -> Vec<u32> {
    numbers.iter().map(|number| u32::try_from(*number).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_tag_is_kept_as_long_as_it_is_possible() {
        assert_eq!((likely(&[2, 3], 3), likely(&[2, 3], 0), likely(&[0, 1, 2, 3, 4], 4)), (3, 2, 4));
    }
}
