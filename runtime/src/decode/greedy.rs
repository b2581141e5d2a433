//! Greedy decoding, a batch at a time, one token a step.

use super::{Decoder, Limits};
use crate::backend::BackendError;

pub(super) fn decode(decoder: &mut Decoder, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
    let memory = decoder.encode(sources)?;
    let mut targets = Targets::new(sources.len(), decoder.limits);
    while !targets.all_ended() {
        let next = decoder.next_ids(&memory, targets.inputs())?;
        targets.push(&next);
    }
    Ok(targets.ids)
}

/// The targets of a batch as they grow.
#[derive(Debug)]
struct Targets {
    limits: Limits,
    /// Ids of each row so far, without the start token.
    ids: Vec<Vec<u32>>,
    /// Whether each row is complete.
    ended: Vec<bool>,
}

impl Targets {
    fn new(rows: usize, limits: Limits) -> Self {
        Self { limits, ids: vec![vec![]; rows], ended: vec![limits.max_target_len == 0; rows] }
    }

    fn all_ended(&self) -> bool {
        self.ended.iter().all(|&ended| ended)
    }

    /// `[batch, target_len]`: the start token, a row's ids, and padding where a row has ended before others.
    fn inputs(&self) -> Vec<i64> {
        let length = self.ids.iter().map(Vec::len).max().unwrap_or(0);
        let padded = |row: &Vec<u32>| {
            let padding = std::iter::repeat_n(self.limits.pad, length - row.len());
            let ids: Vec<i64> = row.iter().map(|&id| i64::from(id)).chain(padding).collect();
            std::iter::once(self.limits.start).chain(ids)
        };
        self.ids.iter().flat_map(padded).collect()
    }

    /// Adds the next id of each row; rows that have ended ignore theirs.
    fn push(&mut self, next: &[i64]) {
        for ((row, ended), &id) in self.ids.iter_mut().zip(&mut self.ended).zip(next) {
            if *ended {
                continue;
            }
            // An argmax over the vocabulary is a small number that is not negative.
            row.push(u32::try_from(id).unwrap_or_default());
            *ended = id == self.limits.eos || row.len() == self.limits.max_target_len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_target_len: usize) -> Limits {
        Limits { pad: 0, eos: 1, start: 9, max_target_len }
    }

    #[test]
    fn a_row_ends_at_its_end_token_and_is_padded_for_the_others() {
        let mut targets = Targets::new(2, limits(9));
        assert_eq!(targets.inputs(), [9, 9]);
        for next in [[5, 6], [1, 7], [4, 8]] {
            targets.push(&next);
        }
        assert_eq!(targets.inputs(), [9, 5, 1, 0, 9, 6, 7, 8]);
        assert!(!targets.all_ended());
        targets.push(&[4, 1]);
        assert!(targets.all_ended());
        assert_eq!(targets.ids, [vec![5, 1], vec![6, 7, 8, 1]]);
    }

    #[test]
    fn no_row_grows_past_the_longest_target() {
        let mut targets = Targets::new(1, limits(2));
        targets.push(&[5]);
        targets.push(&[5]);
        assert!(targets.all_ended());
        assert_eq!(targets.ids, [[5, 5]]);
        assert!(Targets::new(1, limits(0)).all_ended());
    }
}
