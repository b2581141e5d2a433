//! The sentences that an exported file is run on before it gets its name.

use hyperloader_core::run::Task;
use hyperloader_core::text::source::PaddedRows;
use ndarray::Array2;

/// Short sentences of different lengths, so that batches contain padding.
const SENTENCES: [&str; 3] =
    ["set an alarm for 7 am", "play some jazz by miles davis on saturday night", "hello"];

/// The words of each sentence, split as the task's corpus is.
pub(crate) fn sentences(task: &Task) -> Vec<Vec<String>> {
    let words = |sentence: &&str| task.words.split(sentence).into_iter().map(|word| word.text).collect();
    SENTENCES.iter().map(words).collect()
}

/// Rows of ids as a batch `[rows, longest]`, padded with `pad`, and its attention mask.
pub(crate) fn batch(rows: Vec<Vec<i64>>, pad: i64) -> (Array2<i64>, Array2<i64>) {
    let rows = PaddedRows::new(rows, pad);
    let (shape, mask) = (rows.shape, rows.mask());
    let matrix = |values| Array2::from_shape_vec(shape, values).unwrap_or_default();
    (matrix(rows.values), matrix(mask))
}
