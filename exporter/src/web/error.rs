//! Errors of a site.

use std::path::PathBuf;

use hyperloader_core::text::words::WordRule;
use hyperloader_runtime::{GraphError, ModelFileError};

/// A task cannot be written as a site.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The file that the site is made of cannot be opened.
    #[error("cannot open the file that the site is made of")]
    File(#[from] ModelFileError),
    /// The graph of the task cannot be split.
    #[error("cannot split the graph into an encoder and a decoder")]
    Graph(#[from] GraphError),
    /// The task's model is a token classifier.
    #[error(
        "the task's model has no decoder, and the page runs encoder-decoders only\n\
         hint: train the task on a T5; `hl-export --task TASK` writes a file for `hl-run`"
    )]
    NoDecoder,
    /// The model has no weight that is large.
    #[error("the model has no large weights")]
    NoWeights,
    /// The metadata could not be written as JSON.
    #[error("cannot write the metadata as JSON")]
    Json(#[from] serde_json::Error),
    /// The module has another set of rules for words.
    #[error(
        "the task splits text into words by the rule `{}`, which browsers do not have\n\
         hint: set `words` to another rule in the task's configuration; `hl-export --task TASK` writes a file for `hl-run`",
        .0.name()
    )]
    Words(WordRule),
    /// A file of the packages is not there.
    #[error(
        "cannot read `{}`, a file of the packages that the page needs\n\
         hint: `cargo xtask web` fetches them; `--web-runtime DIR` names their folder",
        path.display()
    )]
    Package {
        /// Path of the file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No folder with packages was found.
    #[error(
        "the packages that the page needs are not there: no folder around hl-export or the current folder has `{}`\n\
         hint: `cargo xtask web` fetches them; `--web-runtime DIR` names their folder",
        .0.display()
    )]
    NoPackages(PathBuf),
    /// The folder is there.
    #[error("`{}` is there already\nhint: `--force` replaces it", .0.display())]
    Exists(PathBuf),
    /// The folder has files that no export wrote.
    #[error(
        "`{}` has `{other}`, which is not part of a site\nhint: name another folder, or remove its files",
        folder.display()
    )]
    OtherFile {
        /// The folder that would be replaced.
        folder: PathBuf,
        /// Name of the first such file.
        other: String,
    },
    /// Something else than a folder has the name.
    #[error("`{}` is not a folder", .0.display())]
    NotAFolder(PathBuf),
}
