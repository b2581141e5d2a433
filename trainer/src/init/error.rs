//! Errors of making a configuration.

use std::path::PathBuf;

use hyperloader_core::files::FileError;

use crate::corpora::CountError;

/// A configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file is unusable.
    #[error(transparent)]
    File(#[from] FileError),
    /// A corpus is unreadable.
    #[error("cannot use the files of task `{task}`")]
    Corpus {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: CountError,
    },
    /// Two files are for the same split of a task.
    #[error(
        "`{}` and `{}` are both {split} files of task `{task}`\nhint: join them, or give them names that differ before `train`, `valid` and `test`",
        first.display(), second.display()
    )]
    Twice {
        /// Name of the task.
        task: String,
        /// `train`, `valid` or `test`.
        split: &'static str,
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
    },
    /// A task has no training file.
    #[error("task `{task}` has no training file, only `{}`\nhint: name it with `--data` too", found.display())]
    NoTraining {
        /// Name of the task.
        task: String,
        /// A file of the task.
        found: PathBuf,
    },
    /// A value has no form in TOML.
    #[error("cannot write the configuration")]
    Toml(#[from] toml::ser::Error),
}
