//! A BERT with the modules and the classifier of each task.

use std::sync::Arc;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig, names};
use hyperloader_core::backbone::{Backbone, BackboneConfig, BackboneError};
use hyperloader_core::method::TaskShape;
use hyperloader_core::method::family::MethodFamily;
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, UnipeltWeights};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::scores::Score;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans, spans_to_bio};
use hyperloader_core::text::wordpiece::WordPiece;
use tch::{Device, Kind, Reduction, Tensor};

use super::network::Bert;
use crate::data::batch::{Batch, IGNORED};
use crate::data::coding::NO_TARGET;
use crate::data::example::Example;
use crate::loss::StepLoss;
use crate::model::base::TaskLabels;
use crate::model::error::ModelError;
use crate::model::learner::{Decoding, Learner};
use crate::model::placement::Placement;
use crate::model::scored::{ExampleScores, Scored, log_probabilities};
use crate::model::start::Start;
use crate::parameters::{MissingTensor, Parameters};

/// A frozen BERT with the trainable tensors of `unipelt-bert`.
#[derive(Debug)]
pub struct BertTagger {
    /// Frozen encoder.
    pub bert: Bert,
    /// The hyper-parameters of the method.
    pub method: UnipeltBertConfig,
    /// The tensors that training changes.
    pub parameters: Parameters,
    codec: Arc<WordPiece>,
    /// Tasks with their BIO tags, in the order of the logits.
    tasks: Vec<(String, Vec<String>)>,
}

impl BertTagger {
    /// A tagger of `tasks` with new tensors or those of a checkpoint.
    ///
    /// # Errors
    /// If the backbone cannot be read, or a tensor of the checkpoint is missing, has another shape or is unknown.
    pub fn new(
        backbone: &BertBackbone,
        codec: Arc<WordPiece>,
        method: &UnipeltBertConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Self, ModelError> {
        let tags = |task: &TaskLabels| bio_tags(&task.labels.iter().collect::<Vec<_>>());
        let tasks: Vec<_> = tasks.iter().map(|task| (task.name.to_owned(), tags(task))).collect();
        let shape =
            |(task, tags): &(String, Vec<String>)| TaskShape { name: task.clone(), bio_tags: tags.len() };
        let shapes: Vec<TaskShape> = tasks.iter().map(shape).collect();
        let list = method.trainable_tensors(&backbone.config.shape(), &shapes);
        let parameters = start.parameters(&list, placement.device, |name| backbone.tensor(name))?;
        let bert = Bert::new(&backbone.config, |name| {
            let multiplied = ![names::WORDS, names::POSITIONS, names::TYPES].contains(&name);
            Ok::<_, BackboneError>(placement.frozen(&backbone.tensor(name)?, multiplied))
        })?;
        Ok(Self { bert, method: method.clone(), parameters, codec, tasks })
    }

    /// The dimensions of the encoder.
    pub fn config(&self) -> &BertConfig {
        &self.bert.config
    }

    fn task_tags(&self, task: &str) -> Result<&[String], ModelError> {
        let found = self.tasks.iter().find(|(name, _)| name == task);
        let known = || self.tasks.iter().map(|(name, _)| name.as_str());
        found.map(|(_, tags)| tags.as_slice()).ok_or_else(|| ModelError::unknown_task(task, known()))
    }

    /// Logits `[batch, source_len, tags]` of `task`, with gradients towards [`BertTagger::parameters`]. `inputs` are
    /// `input_ids` and `attention_mask`, both `[batch, source_len]`.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn logits(&self, task: &str, inputs: [&Tensor; 2], training: bool) -> Result<Tensor, ModelError> {
        self.task_tags(task)?;
        let tensor = |name: &str| self.parameters.require(name).map(Tensor::shallow_clone);
        let weights = UnipeltWeights::gather::<MissingTensor>(
            &self.method,
            self.config().num_hidden_layers,
            task,
            tensor,
        )?;
        Ok(self.bert.logits(&weights, self.method.gate_over_padding, inputs, training))
    }

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
    ) -> Result<(StepLoss, Vec<Vec<String>>), ModelError> {
        let batch = self.batch(examples);
        let (logits, best) = self.best(task, &batch)?;
        let loss = tag_loss(&logits, &batch.attention_mask, &batch.target_ids, label_smoothing);
        Ok((loss, self.tags_of(task, examples, &best)?))
    }

    fn scored(
        &self,
        task: &str,
        examples: &[&Example],
        _: Decoding,
        temperatures: &[f64],
    ) -> Result<Vec<Scored>, ModelError> {
        let (logits, best) = self.best(task, &self.batch(examples))?;
        let length = logits.size()[1] as usize;
        let all = log_probabilities(&logits.flatten(0, 1), &best.reshape(-1), temperatures);
        let mut scored = Vec::with_capacity(examples.len());
        for (row, tags) in self.tags_of(task, examples, &best)?.into_iter().enumerate() {
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
