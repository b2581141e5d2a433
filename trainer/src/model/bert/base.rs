//! A BERT with its tokenizer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperloader_core::backbone::BackboneError;
use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::method::MethodConfig;
use hyperloader_core::run::Architecture;
use hyperloader_core::text::wordpiece::WordPiece;

use super::tagger::BertTagger;
use crate::config::{Config, ConfigError};
use crate::data::coding::Coding;
use crate::model::base::{Base, OpenError, TaskLabels};
use crate::model::error::ModelError;
use crate::model::learner::Learner;
use crate::model::placement::Placement;
use crate::model::start::Start;

/// A BERT with its tokenizer.
pub(crate) struct BertBase {
    backbone: BertBackbone,
    codec: Arc<WordPiece>,
}

impl BertBase {
    /// Opens the BERT in `folder`; `training.dropout` replaces both dropouts of its configuration.
    pub(crate) fn open(config: &Config, folder: &Path) -> Result<Self, OpenError> {
        let mut backbone = BertBackbone::open(folder)?;
        if let Some(dropout) = config.training.dropout {
            backbone.config.hidden_dropout_prob = dropout;
            backbone.config.attention_probs_dropout_prob = dropout;
        }
        let tasks: Vec<String> = config.tasks.keys().cloned().collect();
        config.method.unipelt_bert()?.validate(&backbone.config, &tasks)?;
        check_positions(config, &backbone)?;
        let codec = Arc::new(backbone.codec()?);
        Ok(Self { backbone, codec })
    }
}

impl Base for BertBase {
    fn architecture(&self) -> Architecture {
        Architecture::Bert(self.backbone.config.clone())
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
        true
    }

    fn learner(
        &self,
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Box<dyn Learner>, ModelError> {
        let codec = Arc::clone(&self.codec);
        Ok(Box::new(BertTagger::new(&self.backbone, codec, method.unipelt_bert()?, tasks, start, placement)?))
    }
}

/// A BERT has learned position embeddings: longer sources have none.
fn check_positions(config: &Config, backbone: &BertBackbone) -> Result<(), ConfigError> {
    let (asked, most) = (config.training.max_source_len, backbone.config.max_position_embeddings);
    if asked <= most {
        return Ok(());
    }
    Err(ConfigError::Value {
        field: "training.max_source_len".to_owned(),
        value: asked.to_string(),
        expected: format!("at most the backbone's `max_position_embeddings` {most}").into(),
    })
}
