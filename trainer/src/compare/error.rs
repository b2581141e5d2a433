//! How a comparison fails.

use std::path::PathBuf;

use hyperloader_core::files::FileError;
use hyperloader_core::run::RunError;

use crate::config::ConfigError;
use crate::report::plots::PlotError;
use crate::train::TrainError;

/// A comparison failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The base is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run's folder is unusable.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The figure could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The compare file is not one.
    #[error("`{}`: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// A method of the compare file is unusable.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Method {
        /// The file.
        path: PathBuf,
        /// The method's line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder holds runs that would not compare with these.
    #[error("`{}` holds another comparison: `{field}` is {theirs} there, {ours} here\nhint: choose another `out`, or remove the folder", out.display())]
    OtherComparison {
        /// The folder.
        out: PathBuf,
        /// What differs.
        field: String,
        /// In the folder.
        theirs: String,
        /// In the compare file.
        ours: String,
    },
    /// The folder's name is taken by something that is no comparison.
    #[error("`{}` exists and is no comparison: `{file}` is missing\nhint: choose another `out`, or remove the folder", out.display())]
    Occupied {
        /// The folder.
        out: PathBuf,
        /// What would be there.
        file: &'static str,
    },
    /// The scores of a run are unreadable.
    #[error("`{}` holds no scores: {reason}\nhint: remove it, then the same command scores the run again", path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Two runs were scored on different sentences.
    #[error(
        "runs `{}` and `{}` were scored on other test sentences of task `{task}`: {what} {one} and {other}\nhint: the corpus changed in between; remove the older run",
        first.display(), second.display()
    )]
    OtherSentences {
        /// A run's folder.
        first: PathBuf,
        /// The other run's folder.
        second: PathBuf,
        /// The task.
        task: String,
        /// What is counted.
        what: String,
        /// In the first run.
        one: usize,
        /// In the second.
        other: usize,
    },
}
