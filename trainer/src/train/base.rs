//! The backbone of a training, of either kind, with the codec of its vocabulary: what a model is made on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::registry::{self, Architecture, OpenOptions};
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneConfig, BackboneError};
use hyperloader_core::method::{MethodConfig, TaskShape};
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
    T5 { backbone: T5Backbone, codec: Arc<SentT> },
    /// Of `unipelt-bert`.
    Bert { backbone: BertBackbone, codec: Arc<WordPiece> },
}

impl Base {
    /// Opens the backbone in `folder` and checks that the configuration's method runs on it.
    pub(super) fn open(config: &Config, folder: &Path) -> Result<Self, TrainError> {
        let method = &config.method;
        let options = OpenOptions {
            method: method.method().name(),
            kinds: method.method().backbones(),
            cross_attention_relative_bias: config.backbone.cross_attention_relative_bias,
        };
        let mut backbone = registry::open(folder, &options)?;
        if let Some(rate) = config.training.dropout {
            backbone.config_mut().set_dropout(rate);
        }
        let tasks: Vec<String> = config.tasks.keys().cloned().collect();
        method.validate(backbone.config(), &TaskShape::named(&tasks))?;
        check_source_len(config, backbone.config())?;
        match backbone.downcast::<T5Backbone>() {
            Ok(backbone) => {
                let codec = Arc::new(backbone.codec()?);
                Ok(Self::T5 { backbone: *backbone, codec })
            }
            Err(other) => match other.downcast::<BertBackbone>() {
                Ok(backbone) => {
                    let codec = Arc::new(backbone.codec()?);
                    Ok(Self::Bert { backbone: *backbone, codec })
                }
                Err(other) => unreachable!("the trainer has no model for {other:?}"),
            },
        }
    }

    fn backbone(&self) -> &dyn Backbone {
        match self {
            Self::T5 { backbone, .. } => backbone,
            Self::Bert { backbone, .. } => backbone,
        }
    }

    pub(super) fn architecture(&self) -> Architecture {
        Architecture::of(self.backbone().config())
    }

    pub(super) fn folder(&self) -> &Path {
        self.backbone().folder()
    }

    pub(super) fn hash(&self) -> Result<String, BackboneError> {
        self.backbone().hash()
    }

    pub(super) fn tokenizer(&self) -> PathBuf {
        self.backbone().tokenizer()
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
                let grammar =
                    |task: &TaskData| Ok((task.name.clone(), TargetGrammar::new(codec, task.labels.iter())?));
                let grammars = data.iter().map(grammar).collect::<Result<_, EvaluationError>>()?;
                Ok(Box::new(TextTagger { tagger: tagger?, codec: Arc::clone(codec), grammars }))
            }
            Self::Bert { backbone, codec } => {
                let tasks = data.iter().map(|task| (task.name.as_str(), &task.labels));
                let MethodConfig::UnipeltBert(method) = &config.method else {
                    unreachable!("no other method runs on a BERT");
                };
                let tagger = BertTagger::new(backbone, Arc::clone(codec), method, tasks, start, placement);
                Ok(Box::new(tagger?))
            }
        }
    }
}

/// A backbone with learned positions reads no more tokens than it has positions.
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
