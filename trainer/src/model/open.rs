//! The constructor of all models: the only place that builds a model by the kind of its backbone.

use std::path::Path;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::backbone::registry::{self, OpenOptions};
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{
    Backbone, BackboneConfig, BackboneError, BackboneKind, CONFIG, TOKENIZER, tokenizer_of,
};
use hyperloader_core::method::TaskShape;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::wordpiece::{VOCABULARY, WordPiece};

use super::base::{Base, OpenError};
use super::bert::base::BertBase;
use super::t5::base::T5Base;
use crate::config::{Config, ConfigError};
use crate::data::coding::Coding;

/// The codec of a backbone whose weights are not read.
pub struct Tokens {
    /// The codec of the tokenizer.
    pub coding: Box<dyn Coding>,
    /// The most tokens of a source that run on the backbone, if there is a limit.
    pub longest_source: Option<usize>,
}

/// Reads the tokenizer of the backbone in `folder`. A folder without `config.json` is read as that of a T5.
///
/// # Errors
/// If the tokenizer is missing or unusable.
pub fn tokens(folder: &Path) -> Result<Tokens, BackboneError> {
    let json = folder.join(TOKENIZER);
    match BackboneKind::of_folder(folder) {
        Some(BackboneKind::Bert) => {
            let path = folder.join(CONFIG);
            let config = BertConfig::from_file(&path).map_err(|e| BackboneError::in_config(e, path))?;
            let text = folder.join(VOCABULARY);
            let coding = WordPiece::from_file(if !json.exists() && text.exists() { &text } else { &json })?;
            let longest_source = config.longest_source().map(|(_, most)| most);
            Ok(Tokens { coding: Box::new(coding), longest_source })
        }
        Some(BackboneKind::T5) | None => {
            Ok(Tokens { coding: Box::new(SentT::from_file(tokenizer_of(folder))?), longest_source: None })
        }
    }
}

/// Opens the backbone in `folder` for the method and the tasks of `config`, and checks that they fit each other.
/// `training.dropout` replaces the dropout rates of the backbone.
///
/// # Errors
/// If the folder is unusable or holds another kind of backbone, or a value of the configuration does not fit it.
pub fn open(config: &Config, folder: &Path) -> Result<Box<dyn Base>, OpenError> {
    let method = config.method.method();
    let options = OpenOptions {
        purpose: &format!("method `{method}` runs on"),
        hint: method.hint(),
        kinds: method.backbones(),
        cross_attention_relative_bias: config.backbone.cross_attention_relative_bias,
    };
    let mut backbone = registry::open(folder, &options)?;
    if let Some(rate) = config.training.dropout {
        backbone.config_mut().set_dropout(rate);
    }
    let tasks: Vec<String> = config.tasks.keys().cloned().collect();
    config.method.validate(backbone.config(), &TaskShape::named(&tasks))?;
    check_source_len(config, backbone.config())?;
    base(backbone)
}

fn base(backbone: Box<dyn Backbone>) -> Result<Box<dyn Base>, OpenError> {
    let other = match backbone.downcast::<T5Backbone>() {
        Ok(t5) => return Ok(Box::new(T5Base::new(*t5)?)),
        Err(other) => other,
    };
    match other.downcast::<BertBackbone>() {
        Ok(bert) => Ok(Box::new(BertBase::new(*bert)?)),
        Err(other) => unreachable!("the trainer has no model for {other:?}"),
    }
}

/// Checks that sources of `training.max_source_len` tokens run on the backbone.
fn check_source_len(config: &Config, backbone: &dyn BackboneConfig) -> Result<(), ConfigError> {
    let asked = config.training.max_source_len;
    match backbone.longest_source() {
        Some((field, most)) if asked > most => Err(ConfigError::Value {
            field: "training.max_source_len".to_owned(),
            value: asked.to_string(),
            expected: format!("at most the backbone's `{field}` {most}").into(),
        }),
        _ => Ok(()),
    }
}
