//! How a search fails.

use std::path::PathBuf;

use hyperloader_core::files::FileError;
use hyperloader_core::run::RunError;

use crate::config::ConfigError;
use crate::train::TrainError;

/// A search failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum TuneError {
    /// The configuration or a setting of the search is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A training failed, for another reason than its learning rate.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// There is nothing to choose from.
    #[error("`learning_rates` is {}, expected at least two\nhint: leave `--learning-rates` out for the default ones; `hl-train --learning-rate RATE` trains with one", listed(.0))]
    TooFew(Vec<f64>),
    /// The folder holds another search.
    #[error("`{}` holds another search: `{field}` is {theirs} there, {ours} here\nhint: choose another `--name`, or remove the folder", folder.display())]
    OtherSearch {
        /// The folder of the search.
        folder: PathBuf,
        /// The key that differs.
        field: String,
        /// Its value in the folder.
        theirs: String,
        /// Its value now.
        ours: String,
    },
    /// The folder exists and is not a search.
    #[error("`{}` already exists and is not a search: `{file}` is missing\nhint: choose another `--name`, or remove the folder", folder.display())]
    Occupied {
        folder: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// The file with the state of the search is invalid.
    #[error("`{}`: {reason}\nhint: remove the folder to begin the search again", path.display())]
    State {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault, with the line.
        reason: String,
    },
    /// The log of a run lacks the evaluation at which a rung ends.
    #[error("`{}` has no evaluation from step 1 to {steps}\nhint: remove the folder of the run; the same command then trains it again", path.display())]
    NoEvaluation {
        /// Path of the log.
        path: PathBuf,
        /// The step of the rung.
        steps: u64,
    },
    /// No candidate can go on.
    #[error(
        "no learning rate is left: {} diverged by step {steps}\nhint: lower `--learning-rates` may help, such as {:.0e}, under another `--name`",
        listed(rates),
        lower(rates)
    )]
    AllDiverged {
        /// The learning rates of the candidates of the last rung.
        rates: Vec<f64>,
        /// The step of that rung.
        steps: u64,
    },
}

/// Learning rates in one line.
fn listed(rates: &[f64]) -> String {
    match rates {
        [] => "empty".to_owned(),
        _ => rates.iter().map(|rate| format!("`{rate:e}`")).collect::<Vec<_>>().join(", "),
    }
}

/// A tenth of the lowest learning rate.
fn lower(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(f64::INFINITY, f64::min) / 10.0
}
