//! Pretrained models in Hugging Face's layout (`config.json`, safetensors, `tokenizer.json`), loaded strictly.
//!
//! T5 and BERT are two implementations of [`Backbone`] and [`BackboneConfig`]. A training method depends on the
//! [`shape`] of a backbone only.
//!
//! - [`t5`], [`bert`]: the two implementations
//! - [`registry`]: opens any backbone; the only list of implementations
//! - [`shape`]: stacks, sites and tensors, as methods see them
//! - [`kind`]: the kinds of backbones, and how a folder's kind is recognized
//! - [`error`]: what can be wrong with a configuration or a folder
//! - [`folder`]: names of the files
//! - `fields`: the fields of `config.json`, checked by name
//! - `limits`: the largest dimensions

pub mod bert;
pub mod error;
mod fields;
pub mod folder;
pub mod kind;
mod limits;
pub mod registry;
pub mod shape;
pub mod t5;

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};

pub use self::error::{BackboneError, ConfigError};
pub use self::folder::{CONFIG, SENTENCEPIECE, TOKENIZER, model_folder, tokenizer_of};
pub use self::kind::BackboneKind;
use self::shape::BackboneShape;
use crate::weights::in_place::TensorRef;
use crate::weights::pretrained::Weights;
use crate::weights::tensors::HostTensor;

/// The configuration of a backbone: all that training methods, manifests and parameter counts need to know of it.
pub trait BackboneConfig: Any + fmt::Debug + Send + Sync {
    /// The kind of backbone.
    fn kind(&self) -> BackboneKind;

    /// Stacks, sites and tensors.
    fn shape(&self) -> BackboneShape;

    /// Checks that all values are in range.
    ///
    /// # Errors
    /// Names the first that is not.
    fn check(&self) -> Result<(), ConfigError>;

    /// The most tokens that a source can have, with the field of `config.json` that says so; `None` if any length runs.
    fn longest_source(&self) -> Option<(&'static str, usize)>;

    /// The id of the padding token.
    fn pad_token_id(&self) -> i64;

    /// Sets every dropout rate. Dropout does not change what a trained model computes.
    fn set_dropout(&mut self, rate: f64);

    /// The fields as a run's manifest stores them, as JSON, without dropout rates: what a trained model depends on.
    fn fields(&self) -> serde_json::Value;
}

impl dyn BackboneConfig {
    /// The configuration as the type of its implementation; `None` if it is of another one.
    pub fn downcast_ref<C: BackboneConfig>(&self) -> Option<&C> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A pretrained model in a folder. Its tensors are exactly those that its configuration implies.
pub trait Backbone: Any + fmt::Debug + Send + Sync {
    /// Folder with `config.json`, tokenizer and weights.
    fn folder(&self) -> &Path;

    /// Dimensions and switches from `config.json`.
    fn config(&self) -> &dyn BackboneConfig;

    /// The configuration, to be changed.
    fn config_mut(&mut self) -> &mut dyn BackboneConfig;

    /// The files that hold the tensors.
    fn weights(&self) -> &Weights;

    /// The name under which the tensor `name` is stored.
    fn stored_name<'a>(&'a self, name: &'a str) -> &'a str;

    /// Path of the tokenizer.
    fn tokenizer(&self) -> PathBuf;

    /// A tensor by Hugging Face's name (see [`BackboneShape::tensors`]), as float32.
    ///
    /// # Errors
    /// If there is no tensor of this name.
    fn tensor(&self, name: &str) -> Result<HostTensor, BackboneError> {
        Ok(self.weights().floats(self.stored_name(name))?)
    }

    /// As [`Backbone::tensor`], without a copy where the file has float32. Its pages stay in memory until
    /// [`Backbone::release`].
    ///
    /// # Errors
    /// As [`Backbone::tensor`].
    fn tensor_in_place(&self, name: &str) -> Result<TensorRef<'_>, BackboneError> {
        Ok(self.weights().floats_in_place(self.stored_name(name))?)
    }

    /// Removes a tensor that was read in place from the memory of this process.
    fn release(&self, name: &str) {
        self.weights().release(self.stored_name(name));
    }

    /// The SHA-256 that stands for the weights (see [`Weights::hash`]).
    ///
    /// # Errors
    /// If a file cannot be read.
    fn hash(&self) -> Result<String, BackboneError> {
        Ok(self.weights().hash()?)
    }
}

impl dyn Backbone {
    /// The backbone as the type of its implementation.
    ///
    /// # Errors
    /// The backbone itself, if it is of another implementation.
    pub fn downcast<B: Backbone>(self: Box<Self>) -> Result<Box<B>, Box<Self>> {
        let any: &dyn Any = &*self;
        if !any.is::<B>() {
            return Err(self);
        }
        let any: Box<dyn Any> = self;
        Ok(any.downcast().unwrap_or_else(|_| unreachable!("its type was just checked")))
    }
}

/// Checks that each of a tokenizer's ids has a row in the embedding.
fn check_vocabulary(path: &Path, tokens: usize, rows: usize) -> Result<(), BackboneError> {
    match tokens > rows {
        true => Err(BackboneError::Vocabulary { path: path.to_owned(), tokens, rows }),
        false => Ok(()),
    }
}
