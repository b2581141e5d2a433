//! How a report fails.

use std::path::PathBuf;

use hyperloader_core::files::FileError;
use hyperloader_core::run::RunError;

use super::plots::PlotError;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds no run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing was logged yet.
    #[error("run `{}` has no metrics: its `metrics.jsonl` has no update\nhint: the first one is written after `training.log_every` updates", .0.display())]
    NoMetrics(PathBuf),
    /// A line of the metrics is invalid.
    #[error("cannot read `{}`, line {line}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line number, from 1.
        line: usize,
        /// The reason.
        source: serde_json::Error,
    },
    /// The final evaluation is unreadable.
    #[error("cannot read the final evaluation `{}`\nhint: remove the file to report on the run without it", path.display())]
    Outcome {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// A plot could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}
