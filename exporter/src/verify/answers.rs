//! Inputs of a verification and the answers of the reference model: data without a backend.

use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS};
use ndarray::{Array2, ArrayD, ArrayViewD};

use crate::precision::Precision;

/// Inputs of one run of a file, by name. The first axis is that of the sentences.
pub(crate) type Pass = Vec<(&'static str, ArrayD<i64>)>;

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

impl ReferenceRun {
    /// The ids of each source, without padding.
    pub(crate) fn sources(&self) -> Vec<Vec<u32>> {
        let input = |name| self.passes.first().and_then(|pass| input(pass, name));
        let (Some(ids), Some(mask)) = (input(INPUT_IDS), input(ATTENTION_MASK)) else { return Vec::new() };
        let row = |(ids, mask): (ArrayViewD<'_, i64>, ArrayViewD<'_, i64>)| {
            let tokens = ids.iter().zip(mask.iter()).filter(|(_, mask)| **mask == 1);
            tokens.map(|(id, _)| u32::try_from(*id).unwrap_or_default()).collect()
        };
        ids.outer_iter().zip(mask.outer_iter()).map(row).collect()
    }
}

/// An input of a pass.
pub(crate) fn input<'a>(pass: &'a Pass, name: &str) -> Option<&'a ArrayD<i64>> {
    pass.iter().find(|(found, _)| *found == name).map(|(_, ids)| ids)
}
