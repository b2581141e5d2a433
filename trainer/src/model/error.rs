//! How a model fails.

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::suggest;
use hyperloader_core::text::sentt::SentTError;
use hyperloader_core::text::wordpiece::WordPieceError;

use crate::data::StoreError;
use crate::parallel::PeerFailed;
use crate::parameters::MissingTensor;

/// A model could not be built, trained or evaluated.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ModelError {
    /// A tensor of the backbone cannot be read.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A trainable tensor is missing.
    #[error(transparent)]
    Missing(#[from] MissingTensor),
    /// A trainable tensor does not belong to this method, backbone and set of tasks.
    #[error("trainable tensor `{name}` has shape {found:?}, expected {expected}")]
    Unexpected {
        /// The tensor's name.
        name: String,
        found: Vec<i64>,
        /// The shape that the method gives it, or `no such tensor`.
        expected: String,
    },
    /// The model was built without this task.
    #[error("unknown task `{task}`, expected one of {known}{hint}")]
    UnknownTask {
        /// The name that was given.
        task: String,
        /// The names of all tasks.
        known: String,
        /// A `hint:` line with a similar name, or empty.
        hint: String,
    },
    /// The generated ids cannot be decoded.
    #[error(transparent)]
    Decode(#[from] SentTError),
    /// A word cannot be encoded.
    #[error(transparent)]
    Encode(#[from] WordPieceError),
    /// The training examples of a streamed task cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process failed.
    #[error(transparent)]
    Peer(#[from] PeerFailed),
    /// The tensor that the model computed has an unexpected shape or type.
    #[error("cannot read the model's output: {0}")]
    Output(String),
}

impl ModelError {
    /// The error for a task that is not one of `tasks`.
    pub(super) fn unknown_task<'a>(task: &str, tasks: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self::UnknownTask {
            task: task.to_owned(),
            known: tasks.clone().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", "),
            hint: suggest::hint(task, tasks),
        }
    }
}
