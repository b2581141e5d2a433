//! A T5 with a method: everything that training needs of a model.

use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::{MethodConfig, TaskShape, TrainableTensor};
use hyperloader_core::suggest;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::HostTensor;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Mode, T5};
use crate::data::Batch;
use crate::loss::StepLoss;
use crate::methods::{self, MissingTensor};
use crate::parameters::{Parameters, to_device};

/// A tagger could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TaggerError {
    /// The backbone is unusable.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A trainable tensor is missing.
    #[error(transparent)]
    Missing(#[from] MissingTensor),
    /// A trainable tensor does not belong to this method, backbone and set of tasks.
    #[error("trainable tensor `{name}` has shape {found:?}, expected {expected}")]
    Unexpected {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
        /// The shape that the method gives it, or none.
        expected: String,
    },
    /// The model was not made for the task.
    #[error("unknown task `{task}`, expected one of {known}{hint}")]
    UnknownTask {
        /// What was asked for.
        task: String,
        /// All tasks.
        known: String,
        /// A nearby name.
        hint: String,
    },
}

/// Precision of products with frozen matrices; everything else is float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Float32.
    #[default]
    F32,
    /// Bfloat16: half the memory, and faster where the processor multiplies it natively.
    Bf16,
}

/// Where and how a tagger computes.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// Where its tensors lie.
    pub device: Device,
    /// Precision of products with frozen matrices.
    pub precision: Precision,
}

impl From<Device> for Placement {
    fn from(device: Device) -> Self {
        Self { device, precision: Precision::F32 }
    }
}

impl Placement {
    /// A frozen tensor in its place.
    fn frozen(self, name: &str, tensor: &HostTensor) -> Tensor {
        let tensor = to_device(tensor, self.device);
        // Position biases are added to scores and never multiplied.
        let factor = tensor.dim() == 2 && !name.ends_with("relative_attention_bias.weight");
        match self.precision {
            Precision::Bf16 if factor => tensor.to_kind(Kind::BFloat16),
            _ => tensor,
        }
    }
}

/// A backbone, a method, and its trainable tensors.
#[derive(Debug)]
pub struct Tagger {
    /// The backbone, frozen apart from the tensors that the method trains.
    pub t5: T5,
    /// The method.
    pub method: MethodConfig,
    /// What training changes.
    pub parameters: Parameters,
    /// Names of the tasks.
    pub tasks: Vec<String>,
}

impl Tagger {
    /// A fresh tagger; the same seed gives the same one.
    ///
    /// # Errors
    /// If the backbone cannot be read.
    pub fn new(
        backbone: &T5Backbone,
        method: &MethodConfig,
        tasks: &[String],
        seed: u64,
        placement: impl Into<Placement>,
    ) -> Result<Self, TaggerError> {
        let placement = placement.into();
        let list = method.trainable_tensors(&backbone.config, &TaskShape::named(tasks));
        let parameters = Parameters::initialise(&list, seed, placement.device, |n| backbone.tensor(n))?;
        Self::with_parameters(backbone, method, tasks, parameters, placement)
    }

    /// A tagger with the trainable tensors of a checkpoint.
    ///
    /// # Errors
    /// If the backbone cannot be read, or a tensor is missing, misshapen or unknown.
    pub fn with_parameters(
        backbone: &T5Backbone,
        method: &MethodConfig,
        tasks: &[String],
        parameters: Parameters,
        placement: impl Into<Placement>,
    ) -> Result<Self, TaggerError> {
        let placement = placement.into();
        let list = method.trainable_tensors(&backbone.config, &TaskShape::named(tasks));
        check_trainable(&list, &parameters)?;
        let t5 = T5::new(&backbone.config, |name| match parameters.get(name) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => Ok::<_, BackboneError>(placement.frozen(name, &backbone.tensor(name)?)),
        })?;
        Ok(Self { t5, method: method.clone(), parameters, tasks: tasks.to_vec() })
    }

    /// Where its tensors lie.
    pub fn device(&self) -> Device {
        self.t5.device()
    }

    /// The weights that the method makes for a task, with gradients towards [`Tagger::parameters`].
    ///
    /// # Errors
    /// If there is no such task.
    pub fn task_weights(&self, task: &str) -> Result<TaskWeights<Tensor>, TaggerError> {
        if !self.tasks.iter().any(|t| t == task) {
            return Err(unknown_task(task, self.tasks.iter().map(String::as_str)));
        }
        Ok(methods::generate(&self.method, &self.t5.config, &self.parameters, task)?)
    }

    /// The summed label-smoothed loss of a batch of `task` (reference section 3.2); `training` draws dropout.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn loss(
        &self,
        batch: &Batch,
        task: &str,
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, TaggerError> {
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
    ) -> Result<Vec<Vec<i64>>, TaggerError> {
        let weights = tch::no_grad(|| self.task_weights(task))?;
        Ok(self.t5.greedy(&weights, input_ids, attention_mask, max_len))
    }
}

/// Checks that `parameters` are exactly the tensors of `list`.
///
/// # Errors
/// Names the first that is missing, misshapen or unknown.
pub(crate) fn check_trainable(list: &[TrainableTensor], parameters: &Parameters) -> Result<(), TaggerError> {
    for entry in list {
        let expected = || format!("{:?}", entry.shape);
        let tensor = parameters.get(&entry.name).ok_or_else(|| MissingTensor(entry.name.clone()))?;
        if !tensor.size().iter().map(|n| *n as usize).eq(entry.shape.iter().copied()) {
            return Err(unexpected(&entry.name, tensor, expected()));
        }
    }
    let known = |name: &str| list.iter().any(|entry| entry.name == name);
    match parameters.iter().find(|p| !known(&p.name)) {
        Some(stray) => Err(unexpected(&stray.name, &stray.tensor, "no such tensor".to_owned())),
        None => Ok(()),
    }
}

/// The error of a task that is none of `tasks`.
pub(crate) fn unknown_task<'a>(task: &str, tasks: impl Iterator<Item = &'a str> + Clone) -> TaggerError {
    TaggerError::UnknownTask {
        task: task.to_owned(),
        known: tasks.clone().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", "),
        hint: suggest::hint(task, tasks),
    }
}

fn unexpected(name: &str, tensor: &Tensor, expected: String) -> TaggerError {
    TaggerError::Unexpected { name: name.to_owned(), found: tensor.size(), expected }
}

impl T5 {
    /// The summed label-smoothed loss of a batch (reference section 3.2), over targets that are not padding.
    pub fn loss(
        &self,
        weights: &TaskWeights<Tensor>,
        batch: &Batch,
        label_smoothing: f64,
        mode: Mode,
    ) -> StepLoss {
        let Batch { input_ids, attention_mask, labels } = batch;
        let source = self.encode(weights, input_ids, attention_mask, mode);
        let decoder_input_ids = self.shift_right(labels);
        let states = self.decode(weights, &decoder_input_ids, &source, attention_mask, mode);
        let labels = labels.reshape(-1);
        let real = labels.not_equal(self.config.pad_token_id).nonzero().squeeze_dim(1);
        let states = states.reshape([-1, self.config.d_model as i64]).index_select(0, &real);
        self.head.label_smoothed(&states, &labels.index_select(0, &real), label_smoothing)
    }

    /// The decoder's inputs for `labels` `[batch, target_len]`: the start token, then all labels but the last.
    pub fn shift_right(&self, labels: &Tensor) -> Tensor {
        let shifted = labels.roll([1_i64], [1_i64]);
        let _ = shifted.narrow(1, 0, 1).fill_(self.config.decoder_start_token_id);
        shifted
    }
}
