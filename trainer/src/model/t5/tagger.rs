//! A T5 with a method and its trainable tensors.

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneConfig, BackboneError};
use hyperloader_core::method::{MethodConfig, TaskShape};
use hyperloader_core::weights::task::TaskWeights;
use tch::{Device, Tensor};

use super::network::T5;
use crate::data::batch::Batch;
use crate::loss::StepLoss;
use crate::methods;
use crate::model::error::ModelError;
use crate::model::mode::Mode;
use crate::model::placement::Placement;
use crate::model::start::Start;
use crate::parameters::Parameters;

/// A T5 with the weights that a method generates for each of several tasks.
#[derive(Debug)]
pub struct T5Tagger {
    /// The backbone. All of its tensors are frozen but those that the method trains.
    pub t5: T5,
    /// The method and its hyper-parameters.
    pub method: MethodConfig,
    /// The tensors that training changes.
    pub parameters: Parameters,
    /// The names of the tasks.
    pub tasks: Vec<String>,
    /// The sites of the backbone.
    pub shape: BackboneShape,
}

impl T5Tagger {
    /// A tagger with new tensors or those of a checkpoint.
    ///
    /// # Errors
    /// If the backbone cannot be read, or a tensor of the checkpoint is missing, has another shape or is unknown.
    pub fn new(
        backbone: &T5Backbone,
        method: &MethodConfig,
        tasks: &[String],
        start: Start,
        placement: impl Into<Placement>,
    ) -> Result<Self, ModelError> {
        let placement = placement.into();
        let list = method.trainable_tensors(&backbone.config, &TaskShape::named(tasks));
        let parameters = start.parameters(&list, placement.device, |name| backbone.tensor(name))?;
        let t5 = T5::new(&backbone.config, |name| match parameters.get(name) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => {
                // Position biases are added to scores, never multiplied.
                let multiplied = !name.ends_with("relative_attention_bias.weight");
                Ok::<_, BackboneError>(placement.frozen(&backbone.tensor(name)?, multiplied))
            }
        })?;
        let shape = backbone.config.shape();
        Ok(Self { t5, method: method.clone(), parameters, tasks: tasks.to_vec(), shape })
    }

    /// The device of the tensors.
    pub fn device(&self) -> Device {
        self.t5.device()
    }

    /// The weights that the method generates for a task, with gradients towards [`T5Tagger::parameters`].
    ///
    /// # Errors
    /// If there is no such task.
    pub fn task_weights(&self, task: &str) -> Result<TaskWeights<Tensor>, ModelError> {
        if !self.tasks.iter().any(|t| t == task) {
            return Err(ModelError::unknown_task(task, self.tasks.iter().map(String::as_str)));
        }
        Ok(methods::generate(&self.method, &self.shape, &self.parameters, task)?)
    }

    /// The summed label-smoothed loss of a batch of `task` (docs/reference/training.md#loss). Dropout is applied if
    /// `training`.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn loss(
        &self,
        batch: &Batch,
        task: &str,
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, ModelError> {
        let mode = match training {
            true => Mode::Training { dropout: self.t5.config.dropout_rate },
            false => Mode::Evaluation,
        };
        Ok(self.t5.loss(&self.task_weights(task)?, batch, label_smoothing, mode))
    }

    /// [`T5::greedy`] with the weights of `task`.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn greedy(
        &self,
        task: &str,
        input_ids: &Tensor,
        attention_mask: &Tensor,
        max_len: usize,
    ) -> Result<Vec<Vec<u32>>, ModelError> {
        let weights = tch::no_grad(|| self.task_weights(task))?;
        Ok(self.t5.greedy(&weights, input_ids, attention_mask, max_len))
    }
}
