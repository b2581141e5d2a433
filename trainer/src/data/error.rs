//! How the corpus of a task fails to become examples.

use hyperloader_core::corpus::CorpusError;
use hyperloader_core::files::FileError;
use hyperloader_core::text::labels::LabelError;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::writable::WritableError;

use super::store::StoreError;

/// The corpus of a task could not be turned into examples.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is unreadable, or a line of it is invalid.
    #[error("cannot read the corpus of task `{task}`")]
    Corpus {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: CorpusError,
    },
    /// A label cannot be used.
    #[error("cannot use the labels of task `{task}`")]
    Label {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: LabelError,
    },
    /// The model cannot learn to predict the labels.
    #[error("cannot train on the labels of task `{task}`")]
    Labels {
        /// Name of the task.
        task: String,
        /// The labels and the reason.
        source: WritableError,
    },
    /// A sentence cannot be encoded.
    #[error("cannot encode the corpus of task `{task}`")]
    Encode {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: CodingError,
    },
    /// The store of a streamed task cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a streamed task was written to while it was read.
    #[error(
        "the corpus of task `{task}` changed while it was read\nhint: start again when its files are complete"
    )]
    ChangedWhileRead {
        /// Name of the task.
        task: String,
    },
    /// The reading of a streamed task was asked to end.
    #[error("stopped while the corpus of task `{task}` was read\nhint: the same command reads it again")]
    Stopped {
        /// Name of the task.
        task: String,
    },
    /// No sentence of a split can be used.
    #[error("task `{task}` has no usable {split} sentence{reason}")]
    Empty {
        /// Name of the task.
        task: String,
        /// `training` or `validation`.
        split: &'static str,
        /// Why no sentence is left; empty if the split is empty.
        reason: String,
    },
}

impl From<FileError> for DataError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}
