//! A BERT with its tokenizer.

use std::sync::Arc;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::method::names::CLASSIFIER;
use hyperloader_core::text::wordpiece::WordPiece;

use super::tagger::BertTagger;
use crate::data::coding::Coding;
use crate::model::base::{Base, TaskLabels};
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
    /// Reads the tokenizer of `backbone`.
    pub(crate) fn new(backbone: BertBackbone) -> Result<Self, BackboneError> {
        let codec = Arc::new(backbone.codec()?);
        Ok(Self { backbone, codec })
    }
}

impl Base for BertBase {
    fn backbone(&self) -> &dyn Backbone {
        &self.backbone
    }

    fn coding(&self) -> &dyn Coding {
        &*self.codec
    }

    fn classifier(&self) -> Option<&'static str> {
        Some(CLASSIFIER)
    }

    fn learner(
        &self,
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Box<dyn Learner>, ModelError> {
        let codec = Arc::clone(&self.codec);
        Ok(Box::new(BertTagger::new(&self.backbone, codec, method, tasks, start, placement)?))
    }
}
