//! Source ids of sentences: the codecs' common error, a task's prefix before the words, and batches padded to one length.

use super::sentt::{SentT, SentTError};
use super::wordpiece::WordPieceError;

/// A tokenizer cannot be used, or it cannot encode or decode a sentence.
#[derive(Debug, thiserror::Error)]
pub enum CodingError {
    /// The tokenizer of a T5 failed.
    #[error(transparent)]
    SentT(#[from] SentTError),
    /// The tokenizer of a BERT failed.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
}

impl SentT {
    /// The ids of a source: `prefix` (the ids of a task's prefix, often empty), then [`SentT::encode_source`] of `words`.
    ///
    /// # Errors
    /// As [`SentT::encode_source`].
    pub fn encode_prefixed<W: AsRef<str>>(
        &self,
        prefix: &[u32],
        words: &[W],
    ) -> Result<Vec<u32>, SentTError> {
        Ok([prefix, &self.encode_source(words)?].concat())
    }
}

/// Rows of different lengths, padded at the end to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedRows<T> {
    /// Row-major values of [`PaddedRows::shape`].
    pub values: Vec<T>,
    /// `[rows, longest]`.
    pub shape: [usize; 2],
    /// The length of each row without padding.
    pub lengths: Vec<usize>,
}

impl<T: Copy> PaddedRows<T> {
    /// Pads `rows` with `pad`.
    pub fn new<R: IntoIterator<Item = T>>(rows: impl IntoIterator<Item = R>, pad: T) -> Self {
        let rows: Vec<Vec<T>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut values = Vec::with_capacity(rows.len() * width);
        for mut row in rows {
            row.resize(width, pad);
            values.append(&mut row);
        }
        Self { values, shape: [lengths.len(), width], lengths }
    }

    /// The attention mask: 1 for each value of a row, 0 for padding; row-major, of the same shape.
    pub fn mask(&self) -> Vec<i64> {
        let width = self.shape[1];
        self.lengths.iter().flat_map(|length| (0..width).map(move |at| i64::from(at < *length))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_at_the_end_and_the_mask_tells_padding_apart() {
        let rows = PaddedRows::new([vec![5, 6, 7], vec![], vec![0]], 0);
        assert_eq!((rows.shape, &*rows.lengths), ([3, 3], &[3, 0, 1][..]));
        assert_eq!(rows.values, [5, 6, 7, 0, 0, 0, 0, 0, 0]);
        assert_eq!(rows.mask(), [1, 1, 1, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn no_rows_have_no_width() {
        let rows = PaddedRows::<i64>::new(std::iter::empty::<Vec<i64>>(), 0);
        assert_eq!((rows.shape, rows.values.len(), rows.mask().len()), ([0, 0], 0, 0));
    }
}
