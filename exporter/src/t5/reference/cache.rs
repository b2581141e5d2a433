//! The cache of greedy decoding: keys and values that it keeps from one id to the next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ndarray::{Array2, Axis, s};

use crate::error::ModelError;

/// Keys and values of all heads of an attention, both `[batch * keys, inner_dim]`, sentence by sentence.
#[derive(Debug, Clone)]
pub(super) struct KeysAndValues {
    pub(super) keys: Array2<f64>,
    pub(super) values: Array2<f64>,
}

/// The keys and values of the decoder's attentions, by block.
#[derive(Debug, Default)]
pub(super) struct KeyValueCache {
    /// Number of ids of each sentence whose keys and values are in the cache.
    pub(super) length: usize,
    self_attention: BTreeMap<usize, KeysAndValues>,
    cross_attention: BTreeMap<usize, KeysAndValues>,
}

impl KeyValueCache {
    /// Appends `new`, which has `length` keys for each sentence, to a block's self-attention. Returns all of its keys and values.
    pub(super) fn append(&mut self, block: usize, new: KeysAndValues, length: usize) -> &KeysAndValues {
        match self.self_attention.entry(block) {
            Entry::Vacant(entry) => entry.insert(new),
            Entry::Occupied(entry) => {
                let cached = entry.into_mut();
                cached.keys = joined(&cached.keys, &new.keys, length);
                cached.values = joined(&cached.values, &new.values, length);
                cached
            }
        }
    }

    /// Keys and values of a block's cross-attention, which `new` computes at the first call.
    pub(super) fn cross_attention(
        &mut self,
        block: usize,
        new: impl FnOnce() -> Result<KeysAndValues, ModelError>,
    ) -> Result<&KeysAndValues, ModelError> {
        match self.cross_attention.entry(block) {
            Entry::Vacant(entry) => Ok(entry.insert(new()?)),
            Entry::Occupied(entry) => Ok(entry.into_mut()),
        }
    }
}

/// The rows of each sentence in `cached`, then its `length` rows in `new`.
fn joined(cached: &Array2<f64>, new: &Array2<f64>, length: usize) -> Array2<f64> {
    let batch = new.nrows() / length.max(1);
    let before = cached.nrows() / batch.max(1);
    let mut joined = Array2::zeros((cached.nrows() + new.nrows(), cached.ncols()));
    let sentences = joined.axis_chunks_iter_mut(Axis(0), (before + length).max(1));
    for (sentence, mut rows) in sentences.enumerate() {
        rows.slice_mut(s![..before, ..])
            .assign(&cached.slice(s![sentence * before..(sentence + 1) * before, ..]));
        rows.slice_mut(s![before.., ..])
            .assign(&new.slice(s![sentence * length..(sentence + 1) * length, ..]));
    }
    joined
}
