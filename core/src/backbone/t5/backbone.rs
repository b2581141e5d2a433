//! A T5 in Hugging Face's layout.

use std::path::{Path, PathBuf};

use super::config::T5Config;
use super::names;
use crate::backbone::error::BackboneError;
use crate::backbone::folder::{CONFIG, tokenizer_of};
use crate::backbone::{Backbone, BackboneConfig, check_vocabulary};
use crate::text::sentt::SentT;
use crate::weights::pretrained::Weights;
use crate::weights::site::{Attention, Stack};

/// A T5 in a folder. Its tensors are exactly those that its configuration implies.
#[derive(Debug)]
pub struct T5Backbone {
    /// Path of the folder.
    pub folder: PathBuf,
    /// The configuration; training may change its dropout rate.
    pub config: T5Config,
    weights: Weights,
    /// The name that the embedding is stored under.
    embedding: &'static str,
}

impl T5Backbone {
    /// Opens a folder; weights stay on disk until they are read.
    ///
    /// Any T5 that Hugging Face's `T5ForConditionalGeneration` writes: v1.0 or v1.1, one file or shards, with or without
    /// copies of tensors that T5 shares (`{encoder,decoder}.embed_tokens.weight`, a tied `lm_head.weight`), which must
    /// equal their original. The legacy cross-attention bias of transformers 3.5.1 is used only if
    /// `cross_attention_relative_bias` is set (docs/reference/backbones.md#cross-attention-bias), and is then required.
    ///
    /// # Errors
    /// If a file is missing, or a tensor is missing, misshapen, unknown or not finite; the message names it.
    pub fn open(folder: &Path, cross_attention_relative_bias: bool) -> Result<Self, BackboneError> {
        if !folder.is_dir() {
            return Err(BackboneError::NoFolder(folder.to_owned()));
        }
        let path = folder.join(CONFIG);
        let mut config = T5Config::from_file(&path).map_err(|e| BackboneError::in_config(e, path))?;
        config.cross_attention_relative_bias = cross_attention_relative_bias;
        let weights = Weights::open(folder)?;
        // transformers 5 calls every output layer tied: then only the weights tell whether it is.
        if config.scale_decoder_outputs.is_some() {
            config.tie_word_embeddings = !weights.contains(names::LM_HEAD);
        }
        let embedding = [names::SHARED].into_iter().chain(names::EMBEDDING_COPIES);
        let embedding = embedding.into_iter().find(|name| weights.contains(name)).unwrap_or(names::SHARED);
        check(&weights, &config, embedding)?;
        Ok(Self { folder: folder.to_owned(), config, weights, embedding })
    }

    /// The codec over the tokenizer. Every id that it gives has a row in the embedding, which may have more rows.
    ///
    /// # Errors
    /// If the tokenizer is missing, no T5 tokenizer, or larger than the embedding, or if it has other ids for
    /// padding and the end than the configuration.
    pub fn codec(&self) -> Result<SentT, BackboneError> {
        let path = self.tokenizer();
        let codec = SentT::from_file(&path)?;
        check_vocabulary(&path, codec.vocabulary_size(), self.config.vocab_size)?;
        for (field, config, tokenizer) in [
            ("pad_token_id", self.config.pad_token_id, codec.pad()),
            ("eos_token_id", self.config.eos_token_id, codec.eos()),
        ] {
            if config != i64::from(tokenizer) {
                return Err(BackboneError::Token { path, field, config, tokenizer });
            }
        }
        Ok(codec)
    }
}

impl Backbone for T5Backbone {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn config(&self) -> &dyn BackboneConfig {
        &self.config
    }

    fn config_mut(&mut self) -> &mut dyn BackboneConfig {
        &mut self.config
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        if name == names::SHARED { self.embedding } else { name }
    }

    fn tokenizer(&self) -> PathBuf {
        tokenizer_of(&self.folder)
    }
}

/// Checks names, shapes and numbers of all tensors, and that copies are copies.
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
    weights.check_finite(expected.keys().map(String::as_str))?;
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
