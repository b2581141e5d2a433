//! A BERT with the modules and the classifier of each task.

use std::sync::Arc;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig, names};
use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::backbone::{Backbone, BackboneConfig, BackboneError};
use hyperloader_core::method::unipelt_bert::UnipeltWeights;
use hyperloader_core::method::{MethodConfig, TaskShape, names as method_names};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::task::Linear;
use tch::Tensor;

use super::modules::{BertTask, TaskModules};
use super::network::Bert;
use crate::methods;
use crate::model::base::TaskLabels;
use crate::model::error::ModelError;
use crate::model::placement::Placement;
use crate::model::start::Start;
use crate::parameters::{MissingTensor, Parameters};

/// A BERT with the weights that a method makes for each of several tasks.
#[derive(Debug)]
pub struct BertTagger {
    /// The encoder. All of its tensors are frozen but those that the method trains.
    pub bert: Bert,
    /// The method and its hyper-parameters.
    pub method: MethodConfig,
    /// The tensors that training changes.
    pub parameters: Parameters,
    pub(super) codec: Arc<WordPiece>,
    /// The sites of the backbone.
    shape: BackboneShape,
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
        method: &MethodConfig,
        tasks: &[TaskLabels],
        start: Start,
        placement: Placement,
    ) -> Result<Self, ModelError> {
        let tags = |task: &TaskLabels| bio_tags(&task.labels.iter().collect::<Vec<_>>());
        let tasks: Vec<_> = tasks.iter().map(|task| (task.name.to_owned(), tags(task))).collect();
        let shape =
            |(task, tags): &(String, Vec<String>)| TaskShape { name: task.clone(), bio_tags: tags.len() };
        let shapes: Vec<TaskShape> = tasks.iter().map(shape).collect();
        let list = method.trainable_tensors(&backbone.config, &shapes);
        let parameters = start.parameters(&list, placement.device, |name| backbone.tensor(name))?;
        let bert = Bert::new(&backbone.config, |name| match parameters.get(name) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => {
                let multiplied = ![names::WORDS, names::POSITIONS, names::TYPES].contains(&name);
                Ok::<_, BackboneError>(placement.frozen(&backbone.tensor(name)?, multiplied))
            }
        })?;
        Ok(Self { bert, method: method.clone(), parameters, codec, tasks, shape: backbone.config.shape() })
    }

    /// The dimensions of the encoder.
    pub fn config(&self) -> &BertConfig {
        &self.bert.config
    }

    pub(super) fn task_tags(&self, task: &str) -> Result<&[String], ModelError> {
        let found = self.tasks.iter().find(|(name, _)| name == task);
        let known = || self.tasks.iter().map(|(name, _)| name.as_str());
        found.map(|(_, tags)| tags.as_slice()).ok_or_else(|| ModelError::unknown_task(task, known()))
    }

    /// The weights of `task`, with gradients towards [`BertTagger::parameters`].
    ///
    /// # Errors
    /// If there is no such task.
    pub fn task(&self, task: &str) -> Result<BertTask, ModelError> {
        self.task_tags(task)?;
        let tensor = |name: &str| self.parameters.require(name).map(Tensor::shallow_clone);
        let modules = match &self.method {
            MethodConfig::UnipeltBert(method) => {
                let layers = self.config().num_hidden_layers;
                let weights = UnipeltWeights::gather::<MissingTensor>(method, layers, task, tensor)?;
                TaskModules::Gated { weights, over_padding: method.gate_over_padding }
            }
            method => TaskModules::Ungated(methods::generate(method, &self.shape, &self.parameters, task)?),
        };
        let classifier = method_names::of_task(task, method_names::CLASSIFIER);
        let part = |end| tensor(&format!("{classifier}.{end}"));
        Ok(BertTask { modules, classifier: Linear { weight: part("weight")?, bias: part("bias")? } })
    }

    /// Logits `[batch, source_len, tags]` of `task`, with gradients towards [`BertTagger::parameters`]. `inputs` are
    /// `input_ids` and `attention_mask`, both `[batch, source_len]`. The logits of padding have no meaning.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn logits(&self, task: &str, inputs: [&Tensor; 2], training: bool) -> Result<Tensor, ModelError> {
        Ok(self.bert.logits(&self.task(task)?, inputs, training))
    }
}
