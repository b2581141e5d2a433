//! A pretrained T5 in Hugging Face's layout: `config.json`, safetensors, `tokenizer.json`, loaded strictly.

pub mod bert;
pub mod t5;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backbone::bert::BertConfigError;
use crate::backbone::t5::{Attention, ConfigError, Stack, T5Config, names};
use crate::files::{FileError, read_text};
use crate::method::Method;
use crate::text::sentt::{SentT, SentTError};
use crate::text::wordpiece::WordPieceError;
use crate::weights::pretrained::{Weights, WeightsError};
use crate::weights::tensors::{HostTensor, TensorError};

/// Its configuration.
pub const CONFIG: &str = "config.json";
/// Its tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The vocabulary of T5's original tokenizer, which is not read.
pub const SENTENCEPIECE: &str = "spiece.model";

/// A backbone could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The folder is not there.
    #[error("backbone folder `{}` does not exist\nhint: it holds `config.json`, `model.safetensors` and `tokenizer.json`, as Hugging Face's `save_pretrained` writes them", .0.display())]
    NoFolder(PathBuf),
    /// A file of the folder is unusable.
    #[error(transparent)]
    File(#[from] FileError),
    /// `config.json` is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A BERT's `config.json` is unusable.
    #[error(transparent)]
    BertConfig(#[from] BertConfigError),
    /// The weights are unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor is unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// `tokenizer.json` is unusable.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// A BERT's tokenizer is unusable.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// The folder holds a model of another kind.
    #[error(
        "`{}` holds a {found}, but method `{method}` runs on a {}\nhint: {}",
        folder.display(), method.family(), found.hint()
    )]
    Family {
        /// The folder.
        folder: PathBuf,
        /// What it holds.
        found: Family,
        /// The method.
        method: Method,
    },
    /// The tokenizer is there in another format only.
    #[error(
        "`{}` holds `{SENTENCEPIECE}` but no `{TOKENIZER}`\nhint: T5, T5 v1.1 and FLAN-T5 have one vocabulary: put the `{TOKENIZER}` of `t5-base` there",
        .0.display()
    )]
    OnlySentencePiece(PathBuf),
    /// The tokenizer gives ids that the embedding has no row for.
    #[error(
        "`{}` has tokens for {tokens} rows, but the embedding has {rows}\nhint: tokenizer and weights must be of one model",
        path.display()
    )]
    Vocabulary {
        /// The tokenizer.
        path: PathBuf,
        /// One past its largest id.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// Tensors that T5 shares differ.
    #[error(
        "tensor `{copy}` in `{}` differs from `{original}`, but a T5 has one for both\nhint: {hint}",
        path.display()
    )]
    Copy {
        /// The file.
        path: PathBuf,
        /// The tensor.
        copy: &'static str,
        /// The tensor that it should be.
        original: &'static str,
        /// What may be wrong.
        hint: &'static str,
    },
}

/// A kind of backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// An encoder-decoder that writes tags as text.
    T5,
    /// An encoder whose states are classified.
    Bert,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::T5 => "T5",
            Self::Bert => "BERT",
        })
    }
}

/// The one field that tells.
#[derive(Deserialize)]
struct ModelType {
    #[serde(default)]
    model_type: Option<Family>,
}

impl Family {
    fn hint(self) -> &'static str {
        match self {
            Self::T5 => "the backbone of `unipelt-bert` is a BERT or MiniLM, such as `bert-base-uncased`",
            Self::Bert => "the method for a BERT is `unipelt-bert`",
        }
    }

    /// Refuses a folder whose `config.json` says that it holds the backbone of another kind of methods. Whatever else is
    /// wrong with the folder is found when it is opened.
    ///
    /// # Errors
    /// Names the folder, what it holds, and what `method` runs on.
    pub fn check(folder: &Path, method: Method) -> Result<(), BackboneError> {
        let text = read_text(&folder.join(CONFIG)).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(ModelType { model_type: Some(found) }) if found != method.family() => {
                Err(BackboneError::Family { folder: folder.to_owned(), found, method })
            }
            _ => Ok(()),
        }
    }
}

/// A backbone whose tensors are exactly those that its configuration implies.
#[derive(Debug)]
pub struct Backbone {
    /// The folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: T5Config,
    weights: Weights,
    /// The name that the embedding is stored under.
    embedding: &'static str,
}

impl Backbone {
    /// Opens a folder; weights stay on disk until they are read.
    ///
    /// Any T5 that Hugging Face's `T5ForConditionalGeneration` writes: v1.0 or v1.1, one file or shards, with or without
    /// copies of tensors that T5 shares (`{encoder,decoder}.embed_tokens.weight`, a tied `lm_head.weight`), which must
    /// equal their original. The legacy cross-attention bias of transformers 3.5.1 is used only if
    /// `cross_attention_relative_bias` asks for it (reference section 6), and is then required.
    ///
    /// # Errors
    /// If a file is missing, or a tensor is missing, misshapen or unknown; the message names it.
    pub fn open(folder: &Path, cross_attention_relative_bias: bool) -> Result<Self, BackboneError> {
        if !folder.is_dir() {
            return Err(BackboneError::NoFolder(folder.to_owned()));
        }
        let mut config = T5Config::from_file(&folder.join(CONFIG))?;
        config.cross_attention_relative_bias = cross_attention_relative_bias;
        let weights = Weights::open(folder)?;
        // transformers 5 calls every head tied; whether it is, only the weights tell then.
        if config.scale_decoder_outputs.is_some() {
            config.tie_word_embeddings = !weights.contains(names::LM_HEAD);
        }
        let embedding = [names::SHARED].into_iter().chain(names::EMBEDDING_COPIES);
        let embedding = embedding.into_iter().find(|name| weights.contains(name)).unwrap_or(names::SHARED);
        check(&weights, &config, embedding)?;
        Ok(Self { folder: folder.to_owned(), config, weights, embedding })
    }

    /// A tensor by Hugging Face's name, as float32.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, BackboneError> {
        let stored = if name == names::SHARED { self.embedding } else { name };
        Ok(self.weights.floats(stored)?)
    }

    /// Where the tokenizer lies.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join(TOKENIZER)
    }

    /// The codec over the tokenizer. Every id that it gives has a row in the embedding, which may have more rows.
    ///
    /// # Errors
    /// If `tokenizer.json` is missing, no T5 tokenizer, or larger than the embedding.
    pub fn codec(&self) -> Result<SentT, BackboneError> {
        let path = self.tokenizer();
        if !path.exists() && self.folder.join(SENTENCEPIECE).exists() {
            return Err(BackboneError::OnlySentencePiece(self.folder.clone()));
        }
        let codec = SentT::from_file(&path)?;
        check_vocabulary(&path, codec.vocabulary_size(), self.config.vocab_size)?;
        Ok(codec)
    }

    /// Where the weights lie: the single file, or the index of the shards.
    pub fn weights(&self) -> &Path {
        self.weights.path()
    }

    /// The SHA-256 that stands for the weights (see [`Weights::hash`]).
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn hash(&self) -> Result<String, BackboneError> {
        Ok(self.weights.hash()?)
    }
}

/// Checks that each of a tokenizer's ids has a row in the embedding.
pub(crate) fn check_vocabulary(path: &Path, tokens: usize, rows: usize) -> Result<(), BackboneError> {
    match tokens > rows {
        true => Err(BackboneError::Vocabulary { path: path.to_owned(), tokens, rows }),
        false => Ok(()),
    }
}

/// Checks names and shapes of all tensors, and that copies are copies.
fn check(weights: &Weights, config: &T5Config, embedding: &'static str) -> Result<(), BackboneError> {
    let mut expected = config.tensors();
    if let Some(shape) = expected.remove(names::SHARED) {
        expected.insert(embedding.to_owned(), shape);
    }
    let legacy_bias = names::relative_bias(Stack::Decoder, Attention::CrossAttention);
    let mut copies = names::EMBEDDING_COPIES.to_vec();
    if config.tie_word_embeddings {
        copies.push(names::LM_HEAD);
    }
    weights.check(&expected, &[&copies[..], &[&legacy_bias]].concat())?;
    let differs = |copy: &&'static str| weights.contains(copy) && !weights.equal(copy, embedding);
    match copies.into_iter().find(differs) {
        None => Ok(()),
        Some(copy) => Err(BackboneError::Copy {
            path: weights.path_of(copy).to_owned(),
            copy,
            original: embedding,
            hint: match copy {
                names::LM_HEAD => "a head of its own needs `\"tie_word_embeddings\": false` in `config.json`",
                _ => "a T5 with two embeddings is not supported",
            },
        }),
    }
}
