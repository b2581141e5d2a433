//! Errors of configurations and backbones.

use std::path::PathBuf;

use super::kind::BackboneKind;
use crate::files::FileError;
use crate::text::sentt::SentTError;
use crate::text::wordpiece::WordPieceError;
use crate::weights::pretrained::WeightsError;
use crate::weights::tensors::TensorError;

/// A configuration could not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a configuration of this kind of model.
    #[error("`{}` is not a {kind} `config.json`", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The kind of model that was expected.
        kind: BackboneKind,
        /// Description of the fault, with line and column if known.
        source: serde_json::Error,
    },
    /// A field holds a value that this program cannot run.
    #[error("field `{field}` of the {kind} configuration is {value}, expected {expected}")]
    Value {
        /// The kind of model.
        kind: BackboneKind,
        field: &'static str,
        value: String,
        /// The values that can be run.
        expected: String,
    },
    /// There is no preset of this name.
    #[error("unknown preset `{name}`, expected one of {known}")]
    Preset {
        /// The name that was asked for.
        name: String,
        /// All presets.
        known: String,
    },
}

/// A backbone could not be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum BackboneError {
    /// The folder does not exist.
    #[error("backbone folder `{}` does not exist\nhint: it holds `config.json`, `model.safetensors` and `tokenizer.json`, as Hugging Face's `save_pretrained` writes them", .0.display())]
    NoFolder(PathBuf),
    /// A file of the folder is unusable.
    #[error(transparent)]
    File(#[from] FileError),
    /// `config.json` is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A field of `config.json` holds a value that this program cannot run.
    #[error("`{}`: {error}", path.display())]
    Value {
        /// Path of the file.
        path: PathBuf,
        /// The field and its value.
        error: ConfigError,
    },
    /// `config.json` is damaged, so that the kind of model is unknown.
    #[error("`{}` is not JSON\nhint: it may be truncated; fetch it again", path.display())]
    Json {
        /// Path of the file.
        path: PathBuf,
        /// Line and column of the fault.
        source: serde_json::Error,
    },
    /// `config.json` is that of an unknown kind of model.
    #[error(
        "`{}`: field `model_type` is `{found}`, but {purpose} {expected}\nhint: relatives of a model have other layers or another tokenizer; use a checkpoint whose `model_type` is {expected}",
        path.display()
    )]
    Foreign {
        /// Path of the file.
        path: PathBuf,
        /// Its `model_type`.
        found: String,
        /// The method or run that needs the model, and a verb.
        purpose: String,
        /// The values that can be run.
        expected: String,
    },
    /// The weights are unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor is unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// The tokenizer of a T5 is unusable.
    #[error(transparent)]
    SentT(#[from] SentTError),
    /// The tokenizer of a BERT is unusable.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// The folder holds a model of another kind than is needed.
    #[error("`{}` holds a {found}, but {purpose} a {expected}\nhint: {}", folder.display(), hint)]
    Kind {
        /// Path of the folder.
        folder: PathBuf,
        /// The kind of model in it.
        found: BackboneKind,
        /// The kind that is needed.
        expected: BackboneKind,
        /// The method or run that needs it, and a verb.
        purpose: String,
        /// What to do.
        hint: &'static str,
    },
    /// The tokenizer gives ids that the embedding has no row for.
    #[error(
        "`{}` has tokens for {tokens} rows, but the embedding has {rows}\nhint: tokenizer and weights must be of one model",
        path.display()
    )]
    Vocabulary {
        path: PathBuf,
        /// One past its largest id.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// Configuration and tokenizer name other ids.
    #[error(
        "field `{field}` of the T5 configuration is {config}, but the token has the id {tokenizer} in `{}`\nhint: tokenizer and weights must be of one model",
        path.display()
    )]
    Token {
        path: PathBuf,
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        config: i64,
        /// The tokenizer's id.
        tokenizer: u32,
    },
    /// Two tensors that a T5 shares differ.
    #[error(
        "tensor `{copy}` in `{}` differs from `{original}`, but a T5 has one for both\nhint: {hint}",
        path.display()
    )]
    Copy {
        /// Path of the file.
        path: PathBuf,
        copy: &'static str,
        /// The tensor that it should equal.
        original: &'static str,
        /// A likely cause.
        hint: &'static str,
    },
}

impl BackboneError {
    /// The error of a `config.json` at `path`, whose name the message contains.
    pub fn in_config(error: ConfigError, path: PathBuf) -> Self {
        match error {
            ConfigError::Value { .. } => Self::Value { path, error },
            error => Self::Config(error),
        }
    }
}
