//! The learner of a T5 that writes SentT' targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperloader_core::text::scores::{IdScore, Score, tag_scores, word_scores};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_core::weights::tensors::Tensors;
use tch::no_grad;

use super::tagger::T5Tagger;
use crate::data::batch::Batch;
use crate::data::example::Example;
use crate::data::task::TaskData;
use crate::drafter;
use crate::loss::StepLoss;
use crate::model::error::ModelError;
use crate::model::learner::{Decoding, Learner, Prediction};
use crate::model::scored::{ExampleScores, Scored};
use crate::parallel::Group;
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

    fn grammar(&self, task: &str) -> Result<&TargetGrammar, ModelError> {
        let unknown = || ModelError::unknown_task(task, self.grammars.keys().map(String::as_str));
        self.grammars.get(task).ok_or_else(unknown)
    }

    /// The tags of a target for this number of words.
    fn bio_tags(
        &self,
        grammar: &TargetGrammar,
        ids: &[u32],
        words: usize,
        decoding: Decoding,
    ) -> Result<Vec<String>, ModelError> {
        Ok(sbio_to_bio(&grammar.decode_sbio(&self.codec, ids, words, decoding.alignment)?))
    }
}

/// The scores of ids with these log-probabilities. Nothing is known of the ids that they compete with.
fn id_scores(log_probabilities: &[f32]) -> Vec<IdScore> {
    let score = |&log_probability: &f32| IdScore { log_probability, margin: f32::INFINITY };
    log_probabilities.iter().map(score).collect()
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

    fn evaluate(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        decoding: Decoding,
    ) -> Result<(StepLoss, Vec<Prediction>), ModelError> {
        let grammar = self.grammar(task)?;
        let weights = no_grad(|| self.tagger.task_weights(task))?;
        let (batch, max) = (self.batch(examples), decoding.max_target_len);
        let batch = (&batch, examples);
        let (loss, targets) = self.tagger.t5.loss_and_ids(&weights, batch, grammar, label_smoothing, max);
        let predicted = |(target, example): (Vec<u32>, &&Example)| {
            let tags = self.bio_tags(grammar, &target, example.tags.len(), decoding)?;
            Ok(Prediction { tags, target })
        };
        Ok((loss, targets.into_iter().zip(examples).map(predicted).collect::<Result<_, ModelError>>()?))
    }

    fn scored(
        &self,
        task: &str,
        examples: &[(&Example, &[u32])],
        decoding: Decoding,
        temperatures: &[f64],
    ) -> Result<Vec<Scored>, ModelError> {
        let grammar = self.grammar(task)?;
        let weights = no_grad(|| self.tagger.task_weights(task))?;
        let (sources, targets): (Vec<&Example>, Vec<&[u32]>) = examples.iter().copied().unzip();
        let batch = self.batch(&sources);
        let sources = [&batch.input_ids, &batch.attention_mask];
        let all = self.tagger.t5.log_probabilities(&weights, sources, &targets, temperatures);
        let scored = |(row, (example, ids)): (usize, &(&Example, &[u32]))| {
            let words = example.tags.len();
            let places = grammar.places(&self.codec, ids, words, decoding.alignment)?;
            let tags = self.bio_tags(grammar, ids, words, decoding)?;
            let scores = |rows: &Vec<Vec<f32>>| {
                let ids = id_scores(&rows[row]);
                let words = word_scores(&places, &ids);
                ExampleScores { example: Score::of(&ids), tags: tag_scores(&tags, &words), words }
            };
            let at = all.iter().map(scores).collect();
            Ok(Scored { tags, at })
        };
        examples.iter().enumerate().map(scored).collect()
    }

    fn drafter(&self, task: &TaskData, seed: u64, group: &Group) -> Result<Option<Tensors>, ModelError> {
        drafter::fit(&self.tagger, &self.codec, task, seed, group).map(Some)
    }
}
