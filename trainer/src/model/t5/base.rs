//! A T5 with its tokenizer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::run::Architecture;
use hyperloader_core::text::sentt::SentT;

use super::learner::T5Learner;
use super::tagger::T5Tagger;
use crate::config::Config;
use crate::data::coding::Coding;
use crate::model::base::{Base, OpenError, TaskLabels};
use crate::model::error::ModelError;
use crate::model::learner::Learner;
use crate::model::placement::Placement;
use crate::model::start::Start;

/// A T5 with its tokenizer.
pub(crate) struct T5Base {
    backbone: Backbone,
    codec: Arc<SentT>,
}

impl T5Base {
    /// Opens the T5 in `folder`; `training.dropout` replaces the dropout of its configuration.
    pub(crate) fn open(config: &Config, folder: &Path) -> Result<Self, OpenError> {
        let mut backbone = Backbone::open(folder, config.backbone.cross_attention_relative_bias)?;
        backbone.config.dropout_rate = config.training.dropout.unwrap_or(backbone.config.dropout_rate);
        let tasks: Vec<String> = config.tasks.keys().cloned().collect();
        config.method.validate(&backbone.config, &tasks)?;
        let codec = Arc::new(backbone.codec()?);
        Ok(Self { backbone, codec })
    }
}

impl Base for T5Base {
    fn architecture(&self) -> Architecture {
        Architecture::T5(self.backbone.config.clone())
    }

    fn folder(&self) -> &Path {
        &self.backbone.folder
    }

    fn hash(&self) -> Result<String, BackboneError> {
        self.backbone.hash()
    }

    fn tokenizer(&self) -> PathBuf {
        self.backbone.tokenizer()
    }

    fn coding(&self) -> &dyn Coding {
        &*self.codec
    }

    fn has_classifiers(&self) -> bool {
        false
    }

    fn learner(
        &self,
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Box<dyn Learner>, ModelError> {
        let tasks: Vec<String> = tasks.iter().map(|task| task.name.to_owned()).collect();
        let tagger = T5Tagger::new(&self.backbone, method, &tasks, start, placement)?;
        Ok(Box::new(T5Learner { tagger, codec: Arc::clone(&self.codec) }))
    }
}
