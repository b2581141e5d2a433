//! The learner of a T5 that writes SentT' targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_core::weights::tensors::Tensors;

use super::tagger::T5Tagger;
use crate::data::batch::Batch;
use crate::data::example::Example;
use crate::data::task::TaskData;
use crate::drafter;
use crate::loss::StepLoss;
use crate::model::error::ModelError;
use crate::model::learner::{Decoding, Learner};
use crate::parameters::Parameters;

/// A T5 tagger with the codec of its vocabulary.
#[derive(Debug)]
pub struct T5Learner {
    /// Backbone with the method's parameters.
    pub tagger: T5Tagger,
    /// Words to source ids, and target ids to tags.
    pub codec: Arc<SentT>,
    /// The target grammar of each task.
    pub grammars: BTreeMap<String, TargetGrammar>,
}

impl T5Learner {
    fn batch(&self, examples: &[&Example]) -> Batch {
        Batch::new(examples, self.tagger.t5.config.pad_token_id, self.tagger.device())
    }
}

impl Learner for T5Learner {
    fn parameters(&self) -> &Parameters {
        &self.tagger.parameters
    }

    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.tagger.parameters
    }

    fn loss(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, ModelError> {
        self.tagger.loss(&self.batch(examples), task, label_smoothing, training)
    }

    fn loss_scale(&self, _: &[&Example]) -> f64 {
        1.0
    }

    fn classes(&self, _: &str) -> usize {
        self.tagger.t5.config.vocab_size
    }

    fn tags(
        &self,
        task: &str,
        examples: &[&Example],
        decoding: Decoding,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let Batch { input_ids, attention_mask, .. } = self.batch(examples);
        let targets = self.tagger.greedy(task, &input_ids, &attention_mask, decoding.max_target_len)?;
        let unknown = || ModelError::unknown_task(task, self.grammars.keys().map(String::as_str));
        let grammar = self.grammars.get(task).ok_or_else(unknown)?;
        let tags = |(ids, example): (&Vec<u32>, &&Example)| {
            let words = example.tags.len();
            Ok(sbio_to_bio(&grammar.decode_sbio(&self.codec, ids, words, decoding.alignment)?))
        };
        targets.iter().zip(examples).map(tags).collect()
    }

    fn drafter(&self, task: &TaskData, seed: u64) -> Result<Option<Tensors>, ModelError> {
        drafter::fit(&self.tagger, &self.codec, task, seed).map(Some)
    }
}
