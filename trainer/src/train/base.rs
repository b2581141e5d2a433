//! The backbone of a training, of either kind, with the codec of its vocabulary: what a model is made on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::{Backbone, BackboneError, Family};
use hyperloader_core::run::Architecture;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::Tensors;
use tch::Device;

use super::TrainError;
use crate::bert::{BertTagger, Start};
use crate::coding::Coding;
use crate::config::{Config, ConfigError};
use crate::data::TaskData;
use crate::evaluate::EvaluationError;
use crate::learner::{Learner, TextTagger};
use crate::model::{Placement, Precision, Tagger};
use crate::parameters::Parameters;

/// A backbone and its codec.
pub(super) enum Base {
    /// Of the methods that write tags as text.
    T5 { backbone: Backbone, codec: Arc<SentT> },
    /// Of `unipelt-bert`.
    Bert { backbone: BertBackbone, codec: Arc<WordPiece> },
}

impl Base {
    /// Opens what the configuration's method needs in `folder` and checks that the two fit.
    pub(super) fn open(config: &Config, folder: &Path) -> Result<Self, TrainError> {
        let method = &config.method;
        Family::check(folder, method.method())?;
        let tasks: Vec<String> = config.tasks.keys().cloned().collect();
        let dropout = config.training.dropout;
        match method.method().family() {
            Family::T5 => {
                let mut backbone = Backbone::open(folder, config.backbone.cross_attention_relative_bias)?;
                backbone.config.dropout_rate = dropout.unwrap_or(backbone.config.dropout_rate);
                method.validate(&backbone.config, &tasks)?;
                let codec = Arc::new(backbone.codec()?);
                Ok(Self::T5 { backbone, codec })
            }
            Family::Bert => {
                let mut backbone = BertBackbone::open(folder)?;
                let shape = &mut backbone.config;
                shape.hidden_dropout_prob = dropout.unwrap_or(shape.hidden_dropout_prob);
                shape.attention_probs_dropout_prob = dropout.unwrap_or(shape.attention_probs_dropout_prob);
                method.unipelt_bert()?.validate(&backbone.config, &tasks)?;
                check_positions(config, &backbone)?;
                let codec = Arc::new(backbone.codec()?);
                Ok(Self::Bert { backbone, codec })
            }
        }
    }

    pub(super) fn architecture(&self) -> Architecture {
        match self {
            Self::T5 { backbone, .. } => Architecture::T5(backbone.config.clone()),
            Self::Bert { backbone, .. } => Architecture::Bert(backbone.config.clone()),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::T5 { backbone, .. } => &backbone.folder,
            Self::Bert { backbone, .. } => &backbone.folder,
        }
    }

    pub(super) fn hash(&self) -> Result<String, BackboneError> {
        match self {
            Self::T5 { backbone, .. } => backbone.hash(),
            Self::Bert { backbone, .. } => backbone.hash(),
        }
    }

    pub(super) fn tokenizer(&self) -> PathBuf {
        match self {
            Self::T5 { backbone, .. } => backbone.tokenizer(),
            Self::Bert { backbone, .. } => backbone.tokenizer(),
        }
    }

    pub(super) fn codec(&self) -> &dyn Coding {
        match self {
            Self::T5 { codec, .. } => &**codec,
            Self::Bert { codec, .. } => &**codec,
        }
    }

    /// A model of the tasks of `data` with fresh tensors, or with those of a checkpoint.
    pub(super) fn learner(
        &self,
        config: &Config,
        data: &[TaskData],
        checkpoint: Option<&Tensors>,
        (device, precision): (Device, Precision),
    ) -> Result<Box<dyn Learner>, TrainError> {
        let placement = Placement { device, precision };
        let start = match checkpoint {
            Some(tensors) => Start::Checkpoint(Parameters::from_tensors(tensors, device)),
            None => Start::Seed(config.seed),
        };
        match self {
            Self::T5 { backbone, codec } => {
                let tasks: Vec<String> = data.iter().map(|task| task.name.clone()).collect();
                let tagger = match start {
                    Start::Seed(seed) => Tagger::new(backbone, &config.method, &tasks, seed, placement),
                    Start::Checkpoint(parameters) => {
                        Tagger::with_parameters(backbone, &config.method, &tasks, parameters, placement)
                    }
                };
                let grammar = |task: &TaskData| {
                    Ok((task.name.clone(), TargetGrammar::new(codec, task.labels.iter())?))
                };
                let grammars = data.iter().map(grammar).collect::<Result<_, EvaluationError>>()?;
                Ok(Box::new(TextTagger { tagger: tagger?, codec: Arc::clone(codec), grammars }))
            }
            Self::Bert { backbone, codec } => {
                let tasks = data.iter().map(|task| (task.name.as_str(), &task.labels));
                let method = config.method.unipelt_bert()?;
                let tagger = BertTagger::new(backbone, Arc::clone(codec), method, tasks, start, placement);
                Ok(Box::new(tagger?))
            }
        }
    }
}

/// A BERT has no state for positions beyond its embedding.
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
