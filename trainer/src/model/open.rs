//! The constructor of all models. It is the only place that tells the kinds of backbones apart.

use std::path::Path;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::registry::{self, OpenOptions};
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneConfig};
use hyperloader_core::method::TaskShape;

use super::base::{Base, OpenError};
use super::bert::base::BertBase;
use super::t5::base::T5Base;
use crate::config::{Config, ConfigError};

/// Opens the backbone in `folder` for the method and the tasks of `config`, and checks that they fit each other.
/// `training.dropout` replaces the dropout rates of the backbone.
///
/// # Errors
/// If the folder is unusable or holds another kind of backbone, or a value of the configuration does not fit it.
pub fn open(config: &Config, folder: &Path) -> Result<Box<dyn Base>, OpenError> {
    let method = config.method.method();
    let options = OpenOptions {
        method: method.name(),
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
