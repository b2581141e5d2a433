//! Hidden states of a batch.

use ndarray::{Array2, ArrayView2, s};

/// Vectors for every position of every sentence of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// `[batch * length, width]`, sentence by sentence.
    pub(super) rows: Array2<f64>,
    /// Number of positions of each sentence.
    pub(super) length: usize,
}

impl States {
    /// `[batch * length, width]`, sentence by sentence.
    pub fn into_rows(self) -> Array2<f64> {
        self.rows
    }

    /// The states of sentence `index`, `[length, width]`.
    pub fn sentence(&self, index: usize) -> ArrayView2<'_, f64> {
        let start = index * self.length;
        self.rows.slice(s![start..start + self.length, ..])
    }

    /// The last position of every sentence, as sentences of length 1.
    pub(super) fn last_positions(&self) -> Self {
        let step = self.length.max(1);
        let rows = self.rows.slice(s![(step - 1)..;step, ..]).to_owned();
        Self { rows, length: 1 }
    }
}
