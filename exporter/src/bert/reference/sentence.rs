//! The states of one sentence.

use ndarray::{Array1, Array2};

/// Added to the scores of padding, as in BERT.
pub(super) const MASKED: f64 = -1e4;

/// The states of one sentence.
pub(super) struct Sentence {
    /// Hidden states, `[source_len, hidden_size]`.
    pub(super) x: Array2<f64>,
    /// Added to the scores of the sentence's positions: 0 for tokens and [`MASKED`] for padding, `[source_len]`.
    pub(super) bias: Array1<f64>,
    /// 1 for tokens and 0 for padding, `[source_len]`.
    pub(super) mask: Array1<f64>,
}
