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

    /// The states of the first half of the sentences, and those of the second half.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let (first, second) = self.rows.view().split_at(Axis(0), self.rows.nrows() / 2);
        [first, second].map(|rows| Self { rows: rows.to_owned(), length: self.length })
    }

    /// The states of sentence `index`, `[length, width]`.
    pub fn sentence(&self, index: usize) -> ArrayView2<'_, f64> {
        let start = index * self.length;
        self.rows.slice(s![start..start + self.length, ..])
    }
}
