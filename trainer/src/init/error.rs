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
    #[error("task `{task}` has no training file, only {}\nhint: name it with `--data` too", listed(found))]
    NoTraining {
        /// Name of the task.
        task: String,
        /// The files of the task.
        found: Vec<PathBuf>,
    },
    /// A file is one of several parts of a data set.
    #[error(
        "`{}` is part {part} of {parts} of a data set by its name, and a split has one file\nhint: join the parts, or name them by a pattern in a configuration: `train = \"train-*.parquet\"`",
        path.display()
    )]
    Part {
        /// The file.
        path: PathBuf,
        /// The number of the part, as in the name.
        part: String,
        /// The number of parts, as in the name.
        parts: String,
    },
    /// A file's name has the words of two splits.
    #[error(
        "the name of `{}` has `{first}` and `{second}`, so it does not tell the split\nhint: rename the file",
        path.display()
    )]
    TwoSplits {
        /// The file.
        path: PathBuf,
        /// A word of its name.
        first: String,
        /// A word of its name that stands for another split.
        second: String,
    },
    /// A value has no form in TOML.
    #[error("cannot write the configuration")]
    Toml(#[from] toml::ser::Error),
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(" and ")
}
