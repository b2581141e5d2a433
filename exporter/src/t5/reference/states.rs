//! Hidden states of a batch.

use ndarray::{Array2, ArrayView2, Axis, s};

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

    /// The first or the second half of the sentences.
    pub(crate) fn half(&self, second: bool) -> Self {
        let (first, rest) = self.rows.view().split_at(Axis(0), self.rows.nrows() / 2);
        Self { rows: if second { rest } else { first }.to_owned(), length: self.length }
    }

    /// The states of sentence `index`, `[length, width]`.
    pub fn sentence(&self, index: usize) -> ArrayView2<'_, f64> {
        let start = index * self.length;
        self.rows.slice(s![start..start + self.length, ..])
    }
}
