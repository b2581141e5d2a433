//! A T5 with its tokenizer.

use std::sync::Arc;

use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::target::TargetGrammar;

use super::learner::T5Learner;
use super::tagger::T5Tagger;
use crate::data::coding::Coding;
use crate::model::base::{Base, TaskLabels};
use crate::model::error::ModelError;
use crate::model::learner::Learner;
use crate::model::placement::Placement;
use crate::model::start::Start;

/// A T5 with its tokenizer.
pub(crate) struct T5Base {
    backbone: T5Backbone,
    codec: Arc<SentT>,
}

impl T5Base {
    /// Reads the tokenizer of `backbone`.
    pub(crate) fn new(backbone: T5Backbone) -> Result<Self, BackboneError> {
        let codec = Arc::new(backbone.codec()?);
        Ok(Self { backbone, codec })
    }
}

impl Base for T5Base {
    fn backbone(&self) -> &dyn Backbone {
        &self.backbone
    }

    fn coding(&self) -> &dyn Coding {
        &*self.codec
    }

    fn classifier(&self) -> Option<&'static str> {
        None
    }

    fn learner(
        &self,
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Box<dyn Learner>, ModelError> {
        let names: Vec<String> = tasks.iter().map(|task| task.name.to_owned()).collect();
        let tagger = T5Tagger::new(&self.backbone, method, &names, start, placement)?;
        let grammar = |task: &TaskLabels| {
            Ok((task.name.to_owned(), TargetGrammar::new(&self.codec, task.labels.iter())?))
        };
        let grammars = tasks.iter().map(grammar).collect::<Result<_, SentTError>>()?;
        Ok(Box::new(T5Learner { tagger, codec: Arc::clone(&self.codec), grammars }))
    }
}
