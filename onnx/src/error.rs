//! Errors of reading a model.

use std::io;
use std::path::PathBuf;

use crate::limits::MAX_BYTES;

/// A file could not be read as a model.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read model `{}`", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The cause reported by the system.
        source: io::Error,
    },
    /// The file is larger than any ONNX file.
    #[error("`{}` has {bytes} bytes, an ONNX model has at most {MAX_BYTES}", path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
        /// Size of the file.
        bytes: u64,
    },
    /// A file with weights of the model cannot be opened.
    #[error(
        "cannot read `{}`, which holds weights of `{}`\nhint: keep both files in one folder, under their names",
        path.display(), model.display()
    )]
    Data {
        /// Path of the data file.
        path: PathBuf,
        /// Path of the model file.
        model: PathBuf,
        /// The cause reported by the system.
        source: io::Error,
    },
    /// A tensor's elements in another file cannot be used.
    #[error("tensor `{tensor}` of `{}` cannot be read: {reason}", path.display())]
    External {
        /// Path of the model file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph exceeds a limit.
    #[error("`{}` exceeds the limits of a tagger: {reason}", path.display())]
    Limit {
        /// Path of the file.
        path: PathBuf,
        /// The limit and what exceeds it.
        reason: String,
    },
    /// The bytes are not an ONNX model, or end too soon.
    #[error("`{}` is not a whole ONNX model: {reason}", path.display())]
    NotAModel {
        /// Path of the file.
        path: PathBuf,
        /// The first fault found.
        reason: String,
    },
}
