//! A BERT with the modules and the classifier of each task: what a training of `unipelt-bert` trains.

use std::sync::Arc;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::backbone::bert::{BertConfig, names};
use hyperloader_core::backbone::{Backbone, BackboneConfig, BackboneError};
use hyperloader_core::method::TaskShape;
use hyperloader_core::method::family::MethodFamily;
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, UnipeltWeights};
use hyperloader_core::text::labels::{LabelSet, bio_tags};
use hyperloader_core::text::wordpiece::WordPiece;
use tch::{Device, Kind, Reduction, Tensor};

use super::Bert;
use crate::data::{Batch, Example, IGNORED};
use crate::evaluate::{EvaluationError, Settings};
use crate::learner::Learner;
use crate::loss::StepLoss;
use crate::methods::MissingTensor;
use crate::model::{Placement, Precision, TaggerError, check_trainable, unknown_task};
use crate::parameters::{Parameters, to_device};

/// A frozen BERT, and what is trained of `unipelt-bert`.
#[derive(Debug)]
pub struct BertTagger {
    /// The encoder.
    pub bert: Bert,
    /// The method's hyper-parameters.
    pub method: UnipeltBertConfig,
    /// What training changes.
    pub parameters: Parameters,
    codec: Arc<WordPiece>,
    /// Tasks with their BIO tags, in the order of the logits.
    tasks: Vec<(String, Vec<String>)>,
}

impl BertTagger {
    /// A tagger of `tasks` with fresh tensors, or with those of a checkpoint; the same seed gives the same fresh ones.
    ///
    /// # Errors
    /// If the backbone cannot be read, or a tensor of `parameters` is missing, misshapen or unknown.
    pub fn new<'a>(
        backbone: &BertBackbone,
        codec: Arc<WordPiece>,
        method: &UnipeltBertConfig,
        tasks: impl IntoIterator<Item = (&'a str, &'a LabelSet)>,
        start: Start,
        placement: Placement,
    ) -> Result<Self, TaggerError> {
        let tags = |labels: &LabelSet| bio_tags(&labels.iter().collect::<Vec<_>>());
        let tasks: Vec<_> = tasks.into_iter().map(|(task, labels)| (task.to_owned(), tags(labels))).collect();
        let shape =
            |(task, tags): &(String, Vec<String>)| TaskShape { name: task.clone(), bio_tags: tags.len() };
        let shapes: Vec<TaskShape> = tasks.iter().map(shape).collect();
        let list = method.trainable_tensors(&backbone.config.shape(), &shapes);
        let parameters = match start {
            Start::Checkpoint(parameters) => parameters,
            Start::Seed(seed) => {
                Parameters::initialise(&list, seed, placement.device, |name| backbone.tensor(name))?
            }
        };
        check_trainable(&list, &parameters)?;
        let bert = Bert::new(&backbone.config, |name| {
            let tensor = to_device(&backbone.tensor(name)?, placement.device);
            let factor = tensor.dim() == 2 && ![names::WORDS, names::POSITIONS, names::TYPES].contains(&name);
            Ok::<_, BackboneError>(match placement.precision {
                Precision::Bf16 if factor => tensor.to_kind(Kind::BFloat16),
                _ => tensor,
            })
        })?;
        Ok(Self { bert, method: method.clone(), parameters, codec, tasks })
    }

    /// Its dimensions.
    pub fn config(&self) -> &BertConfig {
        &self.bert.config
    }

    fn device(&self) -> Device {
        self.bert.device()
    }

    fn task_tags(&self, task: &str) -> Result<&[String], TaggerError> {
        let found = self.tasks.iter().find(|(name, _)| name == task);
        let known = || self.tasks.iter().map(|(name, _)| name.as_str());
        found.map(|(_, tags)| tags.as_slice()).ok_or_else(|| unknown_task(task, known()))
    }

    /// Logits `[batch, source_len, tags]` of `task`, with gradients towards [`BertTagger::parameters`]; `inputs` are ids and
    /// mask, both `[batch, source_len]`.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn logits(&self, task: &str, inputs: [&Tensor; 2], training: bool) -> Result<Tensor, TaggerError> {
        self.task_tags(task)?;
        let tensor = |name: &str| {
            let tensor = self.parameters.get(name).map(Tensor::shallow_clone);
            tensor.ok_or_else(|| MissingTensor(name.to_owned()))
        };
        let weights = UnipeltWeights::gather(&self.method, self.config().num_hidden_layers, task, tensor)?;
        Ok(self.bert.logits(&weights, self.method.gate_over_padding, inputs, training))
    }

    fn batch(&self, examples: &[&Example]) -> Batch {
        Batch::new(examples, self.config().pad_token_id, self.device())
    }
}

/// Where the trained tensors start.
#[derive(Debug)]
pub enum Start {
    /// Fresh.
    Seed(u64),
    /// As they were.
    Checkpoint(Parameters),
}

/// The cross entropy of `logits` `[batch, len, tags]` over positions with mask 1 whose label in `labels` `[batch, len]` is not
/// [`IGNORED`], summed, and their number.
pub fn tag_loss(logits: &Tensor, mask: &Tensor, labels: &Tensor, label_smoothing: f64) -> StepLoss {
    let tags = logits.size()[2];
    let labels = labels.reshape(-1);
    let counted = labels.not_equal(IGNORED).logical_and(&mask.reshape(-1).not_equal(0));
    let counted = counted.nonzero().squeeze_dim(1);
    let rows = logits.reshape([-1, tags]).index_select(0, &counted);
    let targets = labels.index_select(0, &counted);
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
    ) -> Result<StepLoss, TaggerError> {
        let Batch { input_ids, attention_mask, labels } = self.batch(examples);
        let logits = self.logits(task, [&input_ids, &attention_mask], training)?;
        Ok(tag_loss(&logits, &attention_mask, &labels, label_smoothing))
    }

    fn share(&self, examples: &[&Example]) -> f64 {
        let targets = examples.iter().flat_map(|example| &example.target).filter(|label| **label != IGNORED);
        (targets.count().max(1) as f64).recip()
    }

    fn classes(&self, task: &str) -> usize {
        self.task_tags(task).map_or(1, <[String]>::len)
    }

    fn tags(
        &self,
        task: &str,
        examples: &[&Example],
        _: &Settings,
    ) -> Result<Vec<Vec<String>>, EvaluationError> {
        let Batch { input_ids, attention_mask, .. } = self.batch(examples);
        let logits = tch::no_grad(|| self.logits(task, [&input_ids, &attention_mask], false))?;
        let best = Vec::<Vec<i64>>::try_from(logits.argmax(-1, false).to_device(Device::Cpu))
            .map_err(|error| EvaluationError::Tensor(error.to_string()))?;
        let tags = self.task_tags(task)?;
        let mut all = Vec::with_capacity(examples.len());
        for (example, best) in examples.iter().zip(best) {
            // Words whose first sub-word was cut off are outside of all spans.
            let tag = |at: usize| match at < example.source.len() - 1 {
                true => tags[best[at] as usize].clone(),
                false => "O".to_owned(),
            };
            all.push(self.codec.encode(&example.words)?.first.into_iter().map(tag).collect());
        }
        Ok(all)
    }
}
