//! What the training loop and evaluation need of a model, whatever it is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_core::weights::tensors::Tensors;

use crate::data::{Batch, Example, TaskData};
use crate::drafter::{self, FitError};
use crate::evaluate::{EvaluationError, Settings};
use crate::loss::StepLoss;
use crate::model::{Tagger, TaggerError, unknown_task};
use crate::parameters::Parameters;

/// A model that learns several tasks, one batch of one task at a time.
pub trait Learner {
    /// What training changes.
    fn parameters(&self) -> &Parameters;

    /// What training changes, to be changed.
    fn parameters_mut(&mut self) -> &mut Parameters;

    /// The loss of `examples` of `task`, summed; `training` draws dropout.
    ///
    /// # Errors
    /// If there is no such task.
    fn loss(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, TaggerError>;

    /// What the sum over `examples` is multiplied by before gradients are taken: 1 for a sum, as HyperLoader's reference
    /// trains (reference section 3.2), 1 / targets for a mean.
    fn share(&self, examples: &[&Example]) -> f64;

    /// What each target of `task` is one of: the size of a vocabulary, or the number of tags.
    fn classes(&self, task: &str) -> usize;

    /// BIO tags of the words of each of `examples` of `task`.
    ///
    /// # Errors
    /// If there is no such task, or what the model wrote cannot be decoded.
    fn tags(
        &self,
        task: &str,
        examples: &[&Example],
        settings: &Settings,
    ) -> Result<Vec<Vec<String>>, EvaluationError>;

    /// The tensors of the drafter of a task; `None` for a model that decodes nothing.
    ///
    /// # Errors
    /// If it cannot be fitted.
    fn drafter(&self, _task: &TaskData, _seed: u64) -> Result<Option<Tensors>, FitError> {
        Ok(None)
    }
}

/// A T5 that writes SentT' targets.
#[derive(Debug)]
pub struct TextTagger {
    /// The model.
    pub tagger: Tagger,
    /// From words to ids and from ids to tags.
    pub codec: Arc<SentT>,
    /// The tags of each task.
    pub grammars: BTreeMap<String, TargetGrammar>,
}

impl TextTagger {
    fn batch(&self, examples: &[&Example]) -> Batch {
        Batch::new(examples, self.tagger.t5.config.pad_token_id, self.tagger.device())
    }
}

impl Learner for TextTagger {
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
    ) -> Result<StepLoss, TaggerError> {
        self.tagger.loss(&self.batch(examples), task, label_smoothing, training)
    }

    fn share(&self, _: &[&Example]) -> f64 {
        1.0
    }

    fn classes(&self, _: &str) -> usize {
        self.tagger.t5.config.vocab_size
    }

    fn tags(
        &self,
        task: &str,
        examples: &[&Example],
        settings: &Settings,
    ) -> Result<Vec<Vec<String>>, EvaluationError> {
        let Batch { input_ids, attention_mask, .. } = self.batch(examples);
        let targets = self.tagger.greedy(task, &input_ids, &attention_mask, settings.max_target_len)?;
        let unknown = || unknown_task(task, self.grammars.keys().map(String::as_str));
        let grammar = self.grammars.get(task).ok_or_else(unknown)?;
        let tags = |(ids, example): (&Vec<i64>, &&Example)| {
            let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
            let words = example.tags.len();
            Ok(sbio_to_bio(&grammar.decode_sbio(&self.codec, &ids, words, settings.alignment)?))
        };
        targets.iter().zip(examples).map(tags).collect()
    }

    fn drafter(&self, task: &TaskData, seed: u64) -> Result<Option<Tensors>, FitError> {
        drafter::fit(&self.tagger, &self.codec, task, seed).map(Some)
    }
}
