//! The learner of a BERT whose states are classified.

use hyperloader_core::text::scores::Score;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans, spans_to_bio};
use tch::{Device, Kind, Reduction, Tensor};

use super::tagger::BertTagger;
use crate::data::batch::{Batch, IGNORED};
use crate::data::coding::NO_TARGET;
use crate::data::example::Example;
use crate::loss::StepLoss;
use crate::model::error::ModelError;
use crate::model::learner::{Decoding, Learner, Prediction};
use crate::model::scored::{ExampleScores, Scored, log_probabilities};
use crate::parameters::Parameters;

impl BertTagger {
    fn batch(&self, examples: &[&Example]) -> Batch {
        Batch::new(examples, self.config().pad_token_id, self.bert.device())
    }

    /// The logits of `batch` `[batch, source_len, tags]` and the index of the best tag of each token `[batch, source_len]`,
    /// from one pass, without gradients.
    fn best(&self, task: &str, batch: &Batch) -> Result<(Tensor, Tensor), ModelError> {
        let inputs = [&batch.input_ids, &batch.attention_mask];
        let logits = tch::no_grad(|| self.logits(task, inputs, false))?;
        let best = logits.argmax(-1, false);
        Ok((logits, best))
    }

    /// The tags of `examples` from the index of the best tag of each token.
    fn tags_of(
        &self,
        task: &str,
        examples: &[&Example],
        best: &Tensor,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let best = Vec::<Vec<i64>>::try_from(best.to_device(Device::Cpu))
            .map_err(|error| ModelError::Output(error.to_string()))?;
        let tags = self.task_tags(task)?;
        let mut all = Vec::with_capacity(examples.len());
        for (example, best) in examples.iter().zip(best) {
            // A word whose first sub-word was cut off gets `O`.
            let tag = |at: usize| match at < example.source.len() - 1 {
                true => tags[best[at] as usize].clone(),
                false => "O".to_owned(),
            };
            all.push(self.codec.encode(&example.words)?.first.into_iter().map(tag).collect());
        }
        Ok(all)
    }
}

/// The cross entropy of `logits` `[batch, len, tags]`, summed over the positions of `target_ids` `[batch, len]` that have
/// mask 1 and are not [`IGNORED`], and the number of these positions.
pub fn tag_loss(logits: &Tensor, mask: &Tensor, target_ids: &Tensor, label_smoothing: f64) -> StepLoss {
    let tags = logits.size()[2];
    let targets = target_ids.reshape(-1);
    let counted = targets.not_equal(IGNORED).logical_and(&mask.reshape(-1).not_equal(0));
    let counted = counted.nonzero().squeeze_dim(1);
    let rows = logits.reshape([-1, tags]).index_select(0, &counted);
    let targets = targets.index_select(0, &counted);
    let none = None::<&Tensor>;
    let sum = rows.cross_entropy_loss(&targets, none, Reduction::Sum, IGNORED, label_smoothing);
    let value = sum.to_kind(Kind::Double).double_value(&[]);
    StepLoss { sum: value, tokens: targets.numel() as i64, surrogate: sum }
}

impl Learner for BertTagger {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    fn loss(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, ModelError> {
        let Batch { input_ids, attention_mask, target_ids } = self.batch(examples);
        let logits = self.logits(task, [&input_ids, &attention_mask], training)?;
        Ok(tag_loss(&logits, &attention_mask, &target_ids, label_smoothing))
    }

    fn loss_scale(&self, examples: &[&Example]) -> f64 {
        let targets = examples.iter().flat_map(|example| &example.target).filter(|id| **id != NO_TARGET);
        (targets.count().max(1) as f64).recip()
    }

    fn classes(&self, task: &str) -> usize {
        self.task_tags(task).map_or(1, <[String]>::len)
    }

    fn evaluate(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        _: Decoding,
    ) -> Result<(StepLoss, Vec<Prediction>), ModelError> {
        let batch = self.batch(examples);
        let (logits, best) = self.best(task, &batch)?;
        let loss = tag_loss(&logits, &batch.attention_mask, &batch.target_ids, label_smoothing);
        let tags = self.tags_of(task, examples, &best)?;
        Ok((loss, tags.into_iter().map(|tags| Prediction { tags, target: Vec::new() }).collect()))
    }

    fn scored(
        &self,
        task: &str,
        examples: &[(&Example, &[u32])],
        _: Decoding,
        temperatures: &[f64],
    ) -> Result<Vec<Scored>, ModelError> {
        let examples: Vec<&Example> = examples.iter().map(|(example, _)| *example).collect();
        let (logits, best) = self.best(task, &self.batch(&examples))?;
        let length = logits.size()[1] as usize;
        let all = log_probabilities(&logits.flatten(0, 1), &best.reshape(-1), temperatures);
        let mut scored = Vec::with_capacity(examples.len());
        for (row, tags) in self.tags_of(task, &examples, &best)?.into_iter().enumerate() {
            let example = examples[row];
            let first = self.codec.encode(&example.words)?.first;
            let score = |of_row: &[f32], at: usize| match at < example.source.len() - 1 {
                true => Score { log_probability: of_row[at].into(), margin: f64::INFINITY },
                false => Score::NOT_WRITTEN,
            };
            let at = all.iter().map(|of_all| {
                let of_row = &of_all[row * length..(row + 1) * length];
                let words: Vec<Score> = first.iter().map(|&at| score(of_row, at)).collect();
                ExampleScores { example: Score::product(words.iter().copied()), tags: words.clone(), words }
            });
            let at = at.collect();
            // Tags that form no span are repaired, as `hl-run` does. The spans do not overlap, so this cannot fail.
            let words = tags.len();
            let tags = spans_to_bio(&bio_to_spans(&tags, SpanMode::Default), words).unwrap_or(tags);
            scored.push(Scored { tags, at });
        }
        Ok(scored)
    }
}
