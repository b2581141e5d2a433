//! Errors that end the server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hyperloader_runtime::Check;

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ServeError {
    /// No model is named.
    #[error("no model to serve\nhint: `hl-serve FILE.onnx`")]
    NoModel,
    /// A model cannot be opened.
    #[error("{message}")]
    Model {
        message: String,
        /// See [`ServeError::is_internal`].
        is_internal: bool,
    },
    /// A file is not as it was exported.
    #[error(
        "`{}` is not as it was exported: {}: {}\nhint: copy or export the file again",
        path.display(),
        check.what,
        check.found
    )]
    Damaged { path: PathBuf, check: Check },
    /// Two models have the same name.
    #[error(
        "`{}` and `{}` are both named `{name}`\nhint: give one another name: `NAME=FILE`",
        first.display(),
        second.display()
    )]
    SameName { name: String, first: PathBuf, second: PathBuf },
    /// A folder cannot be read.
    #[error("cannot read folder `{}`", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// A folder has no model.
    #[error("folder `{}` has no file that ends in `.onnx`\nhint: `hl-export --bundle` writes one", path.display())]
    EmptyFolder { path: PathBuf },
    /// Several models would have the same name.
    #[error("`{}` has {models} models, and `{name}` can name one\nhint: leave out the name", path.display())]
    OneName { name: String, path: PathBuf, models: usize },
    /// A file lacks a task that it had.
    #[error("`{}` has no task `{task}`, which is served\nhint: restart the server to serve other tasks", path.display())]
    NoTask { path: PathBuf, task: String },
    /// The file of API keys cannot be used.
    #[error("cannot use `{}` as a file of API keys: {reason}\nhint: write one key per line", path.display())]
    Keys { path: PathBuf, reason: String },
    /// The address cannot be used.
    #[error("cannot listen on {address}\nhint: `--bind` names another address; port 0 is any free one")]
    Bind { address: SocketAddr, source: io::Error },
    /// The system refuses a thread, a timer or a signal.
    #[error("cannot start the server")]
    System { source: io::Error },
}

impl ServeError {
    /// Whether the fault is the program's or a runtime's: the options and the files are in order.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Model { is_internal: true, .. })
    }
}
