//! The sentinels of a T5 vocabulary, `<extra_id_0>`, `<extra_id_1>`, ..., which separate the words of SentT'.

use std::collections::HashMap;

/// The ids of a vocabulary's sentinels, in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    ids: Vec<u32>,
    indices: HashMap<u32, usize>,
}

impl Sentinels {
    /// The sentinels whose ids are `ids`, `<extra_id_0>` first.
    pub fn new(ids: Vec<u32>) -> Self {
        let indices = ids.iter().enumerate().map(|(k, id)| (*id, k)).collect();
        Self { ids, indices }
    }

    /// The text of sentinel `k`.
    pub fn text(k: usize) -> String {
        format!("<extra_id_{k}>")
    }

    /// The ids of all sentinels, `<extra_id_0>` first.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The id of `<extra_id_k>`, if the vocabulary has it.
    pub fn id(&self, k: usize) -> Option<u32> {
        self.ids.get(k).copied()
    }

    /// `k` of the sentinel `<extra_id_k>` with this id; `None` if `id` is not a sentinel.
    pub fn index(&self, id: u32) -> Option<usize> {
        self.indices.get(&id).copied()
    }

    /// The positions of `<extra_id_0>`, `<extra_id_1>`, ... in `ids`, up to the first sentinel that is missing. A
    /// well-formed source or target has one more than words.
    pub fn positions(&self, ids: impl IntoIterator<Item = u32>) -> Vec<usize> {
        let mut positions = Vec::new();
        for (at, id) in ids.into_iter().enumerate() {
            if self.id(positions.len()) == Some(id) {
                positions.push(at);
            }
        }
        positions
    }

    /// The most words that a sentence can have: one fewer than there are sentinels (99 for T5).
    pub fn max_words(&self) -> usize {
        self.ids.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_end_at_the_first_gap_in_the_sentinels() {
        let sentinels = Sentinels::new(vec![90, 91, 92, 93]);
        assert_eq!(sentinels.positions([90, 5, 91, 6, 92, 1]), [0, 2, 4]);
        assert_eq!(sentinels.positions([5, 90, 92, 91, 90]), [1, 3]);
        assert_eq!((sentinels.id(3), sentinels.id(4), sentinels.index(92)), (Some(93), None, Some(2)));
        assert_eq!(sentinels.max_words(), 3);
    }
}
