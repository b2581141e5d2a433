//! The tags that the trained model predicts for the words of training sentences.
//!
//! The decoder reads whole targets: first those of the corpus, then those that it chose in the round before (Jacobi
//! decoding, Santilli et al. 2023). After a few rounds most targets are those of greedy decoding. A round takes one forward
//! pass per batch, greedy decoding one per token.

use std::collections::{BTreeMap, BTreeSet};

use hyperloader_core::text::drafter::{OUTSIDE, ROLES, read_from};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::{SentT, SentTError};
use tch::{Tensor, no_grad};

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

/// Predicts the tags of training sentences with the trained model.
pub(super) struct Teacher<'a> {
    tagger: &'a T5Tagger,
    codec: &'a SentT,
    task: &'a str,
    tags: TagIds,
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
        let names = ["O", "I"].into_iter().chain(labels.iter());
        let ids = |name: &str| Ok(codec.word(&name)?.to_vec());
        let tags = TagIds::new(names.map(ids).collect::<Result<_, SentTError>>()?);
        let sentinels = (0..=codec.max_words()).filter_map(|word| codec.sentinel(word));
        let others = sentinels.chain([codec.eos()]);
        let legal: BTreeSet<u32> = tags.ids.iter().flatten().copied().chain(others).collect();
        let legal: Vec<i64> =
            legal.into_iter().map(i64::from).filter(|id| *id < tagger.t5.config.vocab_size as i64).collect();
        let ids = Tensor::from_slice(&legal).to_device(tagger.device());
        Ok(Self { tagger, codec, task, tags, ids })
    }

    /// `[sets, tags]`, 1 for each tag of a set.
    pub(super) fn sets(&self) -> Tensor {
        let tags = self.tags.ids.len();
        let mut table = vec![0.0_f32; self.tags.sets.len() * tags];
        for (set, row) in self.tags.sets.iter().zip(table.chunks_mut(tags)) {
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
        let mut written: Vec<Vec<usize>> = examples.iter().map(|example| self.gold(example)).collect();
        let choices = |written: &[Vec<usize>]| {
            let (target_ids, places) = self.targets(written);
            let chosen = no_grad(|| {
                let shifted = t5.shift_right(&target_ids);
                let decoded = t5.decode(&weights, &shifted, &encoded, &attention_mask, Mode::Evaluation);
                let d = t5.config.d_model as i64;
                let picked = decoded.reshape([-1, d]).index_select(0, &places);
                t5.head.likeliest(&picked, &self.ids)
            });
            self.tags.chosen_sets(written, &ids_of(&chosen))
        };
        for _ in 1..ROUNDS {
            let sets = choices(&written);
            for (tag, set) in written.iter_mut().flatten().zip(sets) {
                *tag = self.tags.likely(set, *tag);
            }
        }
        let sets = choices(&written);
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

    /// The gold tags of an example, as far as its target goes.
    fn gold(&self, example: &Example) -> Vec<usize> {
        let slots = self.sentinels(&example.target);
        let tag = |slot: &[usize]| self.tags.whole(&example.target[slot[0] + 1..slot[1]]).unwrap_or(OUTSIDE);
        slots.windows(2).map(tag).collect()
    }

    /// Targets with these tags, `[rows, target_len]`, and the flat indices of the ids of each tag and of the id after it.
    fn targets(&self, tags: &[Vec<usize>]) -> (Tensor, Tensor) {
        let device = self.tagger.device();
        let sentinel = |word: usize| self.codec.sentinel(word);
        let mut places = Vec::new();
        let mut targets = Vec::new();
        for (row, tags) in tags.iter().enumerate() {
            let mut target = Vec::new();
            for (word, tag) in tags.iter().enumerate() {
                target.extend(sentinel(word));
                let start = target.len();
                target.extend(&self.tags.ids[*tag]);
                places.extend((start..=target.len()).map(|at| (row, at)));
            }
            target.extend(sentinel(tags.len()));
            target.push(self.codec.eos());
            targets.push(target);
        }
        let target_ids = padded(&targets, self.tagger.t5.config.pad_token_id);
        let length = target_ids.size()[1];
        let places: Vec<i64> = places.into_iter().map(|(row, at)| row as i64 * length + at as i64).collect();
        (target_ids.to_device(device), Tensor::from_slice(&places).to_device(device))
    }

    /// The encoder's states of each word in each role, `[words, roles * d_model]`.
    fn states(&self, examples: &[&Example], tags: &[Vec<usize>], encoded: &Tensor) -> Tensor {
        let (source_len, d) = (encoded.size()[1], encoded.size()[2]);
        let mut at = Vec::new();
        for ((row, example), tags) in (0_i64..).zip(examples).zip(tags) {
            let sentinels = self.sentinels(&example.source);
            // Row 0 holds no state.
            let place = |at: Option<usize>| at.map_or(0, |at| 1 + row * source_len + at as i64);
            at.extend((0..tags.len()).flat_map(|word| read_from(&sentinels, word)).map(place));
        }
        let none = Tensor::zeros([1, d], (encoded.kind(), encoded.device()));
        let states = Tensor::cat(&[none, encoded.reshape([-1, d])], 0);
        let states = states.index_select(0, &Tensor::from_slice(&at).to_device(encoded.device()));
        states.view([-1, ROLES as i64 * d])
    }

    /// The positions of the sentinels of a sequence, up to the first gap in their numbers.
    fn sentinels(&self, ids: &[u32]) -> Vec<usize> {
        let mut places = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if self.codec.sentinel_index(*id) == Some(places.len()) {
                places.push(at);
            }
        }
        places
    }
}

fn ids_of(tensor: &Tensor) -> Vec<u32> {
    let mut ids = vec![0_i64; tensor.numel()];
    tensor.copy_data(&mut ids, tensor.numel());
    ids.into_iter().map(|id| id as u32).collect()
}

/// Tags by their ids, and what is known of a tag when some of its ids are.
struct TagIds {
    /// Of each tag.
    ids: Vec<Vec<u32>>,
    /// Sets of tags: each tag alone, then those that begin alike, all of them last.
    sets: Vec<Vec<usize>>,
    /// The set of the tags that begin with these ids.
    begun: BTreeMap<Vec<u32>, usize>,
}

impl TagIds {
    fn new(ids: Vec<Vec<u32>>) -> Self {
        let mut alike = BTreeMap::<&[u32], Vec<usize>>::new();
        for (tag, ids) in ids.iter().enumerate() {
            (1..=ids.len()).for_each(|length| alike.entry(&ids[..length]).or_default().push(tag));
        }
        let begun = (ids.len()..).zip(alike.keys()).map(|(set, begun)| (begun.to_vec(), set)).collect();
        let mut sets: Vec<Vec<usize>> = (0..ids.len()).map(|tag| vec![tag]).collect();
        sets.extend(alike.into_values());
        sets.push((0..ids.len()).collect());
        Self { ids, sets, begun }
    }

    /// The tag with these ids.
    fn whole(&self, ids: &[u32]) -> Option<usize> {
        self.ids.iter().position(|tag| tag == ids)
    }

    /// The set that each word's tag is in; `chosen` are the decoder's choices at each id of the `written` tag and behind
    /// it.
    fn chosen_sets(&self, written: &[Vec<usize>], mut chosen: &[u32]) -> Vec<usize> {
        let mut sets = Vec::new();
        for tag in written.iter().flatten() {
            let word;
            (word, chosen) = chosen.split_at(self.ids[*tag].len() + 1);
            sets.push(self.chosen_set(*tag, word));
        }
        sets
    }

    fn chosen_set(&self, written: usize, chosen: &[u32]) -> usize {
        let ids = &self.ids[written];
        let agreed = chosen.iter().zip(ids).take_while(|(a, b)| a == b).count();
        let (begun, whole) = (&chosen[..=agreed], &chosen[..agreed]);
        // Behind what both agree on: an id of another tag, or the end of this or of a shorter one.
        self.begun.get(begun).copied().or_else(|| self.whole(whole)).unwrap_or(self.sets.len() - 1)
    }

    /// A tag of a set: the one that was written, if it can be.
    fn likely(&self, set: usize, written: usize) -> usize {
        let tags = &self.sets[set];
        if tags.contains(&written) { written } else { tags[0] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_decoder_chose_says_which_tags_are_possible() {
        const SENTINEL: u32 = 9;
        // O, I, city, city_name, time
        let tags = TagIds::new(vec![vec![1], vec![2], vec![3], vec![3, 4, 5], vec![6, 4]]);
        let heard = |written: usize, chosen: &[u32]| tags.sets[tags.chosen_set(written, chosen)].clone();
        assert_eq!(heard(0, &[1, SENTINEL]), [0]);
        assert_eq!(heard(0, &[2, SENTINEL]), [1], "another tag");
        assert_eq!(heard(0, &[3, SENTINEL]), [2, 3], "its first id");
        assert_eq!(heard(2, &[3, SENTINEL]), [2]);
        assert_eq!(heard(2, &[3, 4]), [3], "a longer tag");
        assert_eq!(heard(3, &[3, SENTINEL, 5, SENTINEL]), [2], "a shorter tag");
        assert_eq!(heard(3, &[3, 4, 5, SENTINEL]), [3]);
        assert_eq!(heard(4, &[6, 4, 8]), [4], "whatever comes behind it");
        assert_eq!(heard(4, &[6, 5, SENTINEL]), [0, 1, 2, 3, 4], "no tag");
        assert_eq!(heard(0, &[8, 8]), [0, 1, 2, 3, 4], "no tag");
        let (set, all) = (tags.begun[&vec![3]], tags.sets.len() - 1);
        assert_eq!((tags.likely(set, 3), tags.likely(set, 0), tags.likely(all, 4)), (3, 2, 4));
        assert_eq!(tags.chosen_sets(&[vec![0, 3], vec![2]], &[1, 9, 3, 4, 5, 9, 3, 9]), [0, 3, 2]);
    }
}
