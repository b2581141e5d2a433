//! How a comparison fails.

use std::path::PathBuf;

use hyperloader_core::files::FileError;
use hyperloader_core::run::RunError;

use crate::config::ConfigError;
use crate::report::plots::PlotError;
use crate::train::TrainError;

/// A comparison failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum CompareError {
    /// The base is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The base of the compare file cannot be read.
    #[error("cannot read the base of `{}`", path.display())]
    Base {
        /// The compare file.
        path: PathBuf,
        source: FileError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The figure could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The compare file is invalid.
    #[error("`{}`: {reason}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault, with the line.
        reason: String,
    },
    /// A method of the compare file is invalid.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Method {
        /// Path of the file.
        path: PathBuf,
        /// The line of the method, from 1.
        line: usize,
        /// Description of the fault.
        reason: String,
    },
    /// The folder holds runs that are not comparable with these.
    #[error("`{}` holds another comparison: `{field}` is {theirs} there, {ours} here\nhint: choose another `out`, or remove the folder", out.display())]
    OtherComparison {
        out: PathBuf,
        /// The key that differs.
        field: String,
        /// Its value in the folder.
        theirs: String,
        /// Its value in the compare file.
        ours: String,
    },
    /// The folder exists and is not a comparison.
    #[error("`{}` already exists and is not a comparison: `{file}` is missing\nhint: choose another `out`, or remove the folder", out.display())]
    Occupied {
        out: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// The scores of a run are unreadable.
    #[error("cannot read the scores `{}`\nhint: remove the file; the same command then scores the run again", path.display())]
    Scores {
        /// Path of the file.
        path: PathBuf,
        /// The underlying error.
        source: serde_json::Error,
    },
    /// Two runs were scored on different sentences.
    #[error(
        "runs `{}` and `{}` were scored on different test sentences of task `{task}`: {what} {one} and {other}\nhint: the corpus has changed; remove the older run",
        first.display(), second.display()
    )]
    OtherSentences {
        /// The folder of the first run.
        first: PathBuf,
        /// The folder of the second run.
        second: PathBuf,
        /// Name of the task.
        task: String,
        /// Name of the part that differs.
        what: String,
        /// The number in the first run.
        one: usize,
        /// The number in the second run.
        other: usize,
    },
}
