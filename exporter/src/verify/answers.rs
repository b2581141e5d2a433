//! Inputs of a verification and the answers of the reference model: data without a backend.

use ndarray::{Array2, ArrayView1};

use crate::precision::Precision;

/// Inputs of one run of a file, by name.
pub(crate) type Pass = Vec<(&'static str, Array2<i64>)>;

/// The inputs of every implementation of a model, and the answers of the reference model.
#[derive(Debug)]
pub(crate) struct ReferenceRun {
    /// Inputs of the runs.
    pub(crate) passes: Vec<Pass>,
    /// Answers of the reference model as trained.
    pub(crate) un_folded: Answers,
    /// Answers of the reference model with the weights of a float32 file.
    pub(crate) folded: Answers,
    /// Answers of the reference model with the weights of a file of lower precision, if the file is one.
    pub(crate) lower: Option<(Precision, Answers)>,
    /// The rows whose best ids are compared.
    pub(crate) choices: Choices,
}

/// The answers of one implementation.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    /// Name of the implementation.
    pub(crate) name: String,
    /// Logits of each pass, `[rows, width]`: a row for each position of each sentence.
    pub(crate) logits: Vec<Array2<f64>>,
}

/// The rows of one pass whose best ids must be those of the un-folded model.
#[derive(Debug)]
pub(crate) struct Choices {
    /// Name of the best ids: `greedy ids` or `tags`.
    pub(crate) what: &'static str,
    /// Index of the pass.
    pub(crate) pass: usize,
    /// Indices of the rows, sentence by sentence.
    pub(crate) rows: Vec<Vec<usize>>,
}

/// The largest value of a row, its id, and how far it is ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    /// Index of the largest value; of equal values the first.
    pub(crate) id: usize,
    /// Difference between the largest and the second largest value; infinite in a row of one value.
    pub(crate) margin: f64,
}

impl Best {
    /// The best id of a row of logits.
    pub(crate) fn of(row: &ArrayView1<'_, f64>) -> Self {
        let (mut id, mut best, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (index, value) in row.iter().enumerate() {
            if *value > best {
                (id, best, second) = (index, *value, best);
            } else if *value > second {
                second = *value;
            }
        }
        Self { id, margin: best - second }
    }
}
