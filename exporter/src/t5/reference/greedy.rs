//! Greedy decoding.

use ndarray::{Array2, Array3, ArrayView1, Axis};

use super::cache::KeyValueCache;
use super::forward::Reference;
use super::states::States;
use crate::arithmetic::argmax;
use crate::error::ModelError;

/// The result of greedy decoding.
#[derive(Debug, Clone)]
pub(crate) struct Greedy {
    /// The start token and the chosen ids, `[batch, length]`; padding after `</s>`.
    pub(crate) ids: Array2<i64>,
    /// The logits after each id but the last, `[batch * (length - 1), vocab_size]`.
    pub(crate) logits: Array2<f64>,
}

impl Reference<'_> {
    /// Greedy decoding over the whole vocabulary: `[batch, <= max_len]`, the start token first, padding after `</s>`.
    /// Of equal logits the first is chosen.
    ///
    /// # Errors
    /// As [`Reference::encode`].
    pub fn greedy(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        max_len: usize,
    ) -> Result<Array2<i64>, ModelError> {
        Ok(self.greedy_with_logits(encoded, attention_mask, max_len)?.ids)
    }

    /// As [`Reference::greedy`], with the logits that the ids were chosen by. The keys and values of each id are computed once.
    pub(crate) fn greedy_with_logits(
        &self,
        encoded: &States,
        attention_mask: &Array2<i64>,
        max_len: usize,
    ) -> Result<Greedy, ModelError> {
        let config = self.config();
        let (eos, pad, batch) = (config.eos_token_id, config.pad_token_id, attention_mask.nrows());
        let generated = self.generated(encoded, attention_mask)?;
        let (mut cache, mut steps) = (KeyValueCache::default(), Vec::new());
        let mut last = Array2::from_elem((batch, 1), config.decoder_start_token_id);
        let mut ids = last.clone();
        while ids.ncols() < max_len && !ids.outer_iter().all(|ids| ended(&ids, eos)) {
            let logits = self.decode_next(encoded, attention_mask, &last, &generated, &mut cache)?;
            last.fill(pad);
            for ((logits, ids), next) in logits.outer_iter().zip(ids.outer_iter()).zip(&mut last) {
                if !ended(&ids, eos) {
                    *next = argmax(&logits) as i64;
                }
            }
            ids = ndarray::concatenate![Axis(1), ids, last];
            steps.push(logits);
        }
        Ok(Greedy { ids, logits: by_sentence(&steps, (batch, config.vocab_size)) })
    }
}

/// The logits of all steps, each `[batch, vocab_size]`, as `[batch * steps, vocab_size]`: sentence by sentence.
fn by_sentence(steps: &[Array2<f64>], (batch, vocab_size): (usize, usize)) -> Array2<f64> {
    let mut logits = Array3::zeros((batch, steps.len(), vocab_size));
    for (step, mut rows) in steps.iter().zip(logits.axis_iter_mut(Axis(1))) {
        rows.assign(step);
    }
    let shape = (batch * steps.len(), vocab_size);
    logits.into_shape_with_order(shape).unwrap_or_else(|_| Array2::zeros(shape))
}

/// Whether `</s>` follows the start token.
fn ended(ids: &ArrayView1<'_, i64>, eos: i64) -> bool {
    ids.iter().skip(1).any(|id| *id == eos)
}
