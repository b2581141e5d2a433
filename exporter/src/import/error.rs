//! Errors of an import.

use std::path::PathBuf;

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::files::FileError;
use hyperloader_core::text::labels::LabelError;
use hyperloader_core::text::writable::WritableError;
use hyperloader_core::weights::pretrained::WeightsError;
use hyperloader_core::weights::tensors::TensorError;

use super::pickle::PickleError;

/// A foreign checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ImportError {
    /// The folder holds no known checkpoint.
    #[error(
        "`{}` holds no checkpoint that can be imported: {found}\n\
         hint: expected `adapter_config.json` (PEFT, AdapterHub), or weights of a T5 with `config.json`",
        folder.display()
    )]
    Unknown { folder: PathBuf, found: String },
    /// A file of weights is missing.
    #[error("`{}` has none of the files {expected}", folder.display())]
    NoWeights { folder: PathBuf, expected: String },
    /// A configuration is not JSON.
    #[error("`{}` is not valid JSON", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    /// A setting has a value that exported files cannot have.
    #[error("`{}`: `{field}` is {found}, only {expected} can be imported", path.display())]
    Setting { path: PathBuf, field: String, found: String, expected: String },
    /// The backbone is not known.
    #[error("`{}` does not contain the T5 that it was trained on\nhint: name its folder with `--backbone DIR`", .0.display())]
    NoBackbone(PathBuf),
    /// The backbone has no tokenizer.
    #[error(
        "`{}` has neither `tokenizer.json` nor `spiece.model`\n\
         hint: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` in Python writes the former",
        .0.display()
    )]
    NoTokenizer(PathBuf),
    /// A tensor is missing, misshapen or unknown.
    #[error("tensor `{name}` of `{}`: {found}, expected {expected}", file.display())]
    Tensor { file: PathBuf, name: String, found: String, expected: String },
    /// Two names of the checkpoint stand for the same tensor.
    #[error("`{}` has `{name}` twice, under different names", file.display())]
    Twice { file: PathBuf, name: String },
    /// The checkpoint has no such task.
    #[error("`{}` has no task `{task}`, only {known}\nhint: name one of them with `--task`", file.display())]
    Task { file: PathBuf, task: String, known: String },
    /// The list of labels is unusable.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// The vocabulary cannot write a label.
    #[error(transparent)]
    Writable(#[from] WritableError),
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The tensors of a file are not those of the T5.
    #[error("the tensors of `{}`, with the configuration beside it or in the backbone, are no T5", file.display())]
    Made { file: PathBuf, source: Box<BackboneError> },
    /// A file of PyTorch is unusable.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A file of tensors is unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// Sharded weights are unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
}
