//! The lines of `metrics.jsonl` and the content of `outcome.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use hyperloader_core::run::CONFIG;
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;

/// The name of the log in a run folder: a JSON object per line.
pub const METRICS: &str = "metrics.jsonl";
/// The name of the final evaluation in a run folder, with all details.
pub const OUTCOME: &str = "outcome.json";

/// One update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// The number of updates so far, this one included.
    pub step: u64,
    /// The task of the batch.
    pub task: String,
    /// The label-smoothed loss in nats per target token.
    pub loss: f64,
    /// The loss minus that of a perfect model.
    pub loss_above_floor: f64,
    /// The global gradient norm before clipping.
    pub grad_norm: f64,
    /// The learning rate of this update.
    pub learning_rate: f64,
    /// The number of target tokens of the batch.
    pub tokens: i64,
    /// Seconds of training so far, without evaluations.
    pub seconds: f64,
}

/// The final evaluation of a training: the best checkpoint on the validation and test splits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The run folder.
    pub run: PathBuf,
    /// The step of the best checkpoint.
    pub best_step: u64,
    /// Seconds of training, without evaluations.
    pub train_seconds: f64,
    /// Scores on the validation split, by task.
    pub validation: BTreeMap<String, Evaluation>,
    /// Scores on the test split, by task. Tasks without a test split are left out.
    pub test: BTreeMap<String, Evaluation>,
}

impl Outcome {
    /// A copy without [`Evaluation::details`].
    pub fn without_details(&self) -> Self {
        let brief = |evaluations: &BTreeMap<String, Evaluation>| {
            evaluations.iter().map(|(task, e)| (task.clone(), e.without_details())).collect()
        };
        Self { validation: brief(&self.validation), test: brief(&self.test), ..self.clone() }
    }
}

/// A line of [`METRICS`], by its `kind`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// An update.
    Train(Step),
    /// A validation of one task.
    Validation {
        /// The number of updates so far.
        step: u64,
        /// Name of the task.
        task: String,
        /// Its scores.
        evaluation: Evaluation,
    },
    /// The final evaluation, without details.
    Outcome {
        /// The step of the best checkpoint.
        best_step: u64,
        /// Scores on the validation split, by task.
        validation: BTreeMap<String, Evaluation>,
        /// Scores on the test split, by task.
        test: BTreeMap<String, Evaluation>,
    },
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}
