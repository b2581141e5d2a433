//! A pretrained T5 in Hugging Face's layout: `config.json`, `model.safetensors`, `tokenizer.json`, loaded strictly.

use std::path::{Path, PathBuf};

use crate::files::{FileError, sha256};
use crate::t5::{Attention, ConfigError, Stack, T5Config, names};
use crate::tensors::{HostTensor, TensorError, TensorFile};

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
    /// `model.safetensors` is unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
}

/// A backbone whose tensors are exactly those that its configuration implies.
#[derive(Debug)]
pub struct Backbone {
    /// The folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: T5Config,
    weights: TensorFile,
}

impl Backbone {
    /// Opens a folder; weights stay on disk until they are read.
    ///
    /// Copies of the embedding under `{encoder,decoder}.embed_tokens.weight` and a tied `lm_head.weight` are passed
    /// over. The legacy cross-attention bias of transformers 3.5.1 is used only if `cross_attention_relative_bias`
    /// asks for it (reference section 6), and is then required.
    ///
    /// # Errors
    /// If a file is missing, or a tensor is missing, misshapen or unknown; the message names it.
    pub fn open(folder: &Path, cross_attention_relative_bias: bool) -> Result<Self, BackboneError> {
        if !folder.is_dir() {
            return Err(BackboneError::NoFolder(folder.to_owned()));
        }
        let mut config = T5Config::from_file(&folder.join("config.json"))?;
        config.cross_attention_relative_bias = cross_attention_relative_bias;
        let weights = TensorFile::open(&folder.join("model.safetensors"))?;
        let mut tolerated: Vec<String> = names::EMBEDDING_COPIES.map(str::to_owned).to_vec();
        tolerated.push(names::relative_bias(Stack::Decoder, Attention::CrossAttention));
        if config.tie_word_embeddings {
            tolerated.push(names::LM_HEAD.to_owned());
        }
        weights.check(&config.tensors(), &tolerated)?;
        Ok(Self { folder: folder.to_owned(), config, weights })
    }

    /// A tensor by Hugging Face's name, as float32.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, BackboneError> {
        Ok(self.weights.floats(name)?)
    }

    /// Where the tokenizer lies.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// SHA-256 of the weights' file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn hash(&self) -> Result<String, BackboneError> {
        Ok(sha256(self.weights.path())?)
    }
}
