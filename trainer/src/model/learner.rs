//! The trait that the training loop and the evaluation use: a model of several tasks, on any backbone.

use hyperloader_core::text::target::Alignment;
use hyperloader_core::weights::tensors::Tensors;
use serde::{Deserialize, Serialize};

use super::error::ModelError;
use super::scored::Scored;
use crate::data::example::Example;
use crate::data::task::TaskData;
use crate::loss::StepLoss;
use crate::parallel::Group;
use crate::parameters::Parameters;

/// How a model that generates text is decoded. A token classifier needs none of it.
#[derive(Debug, Clone, Copy)]
pub struct Decoding {
    /// The most tokens of a generated target, `</s>` included.
    pub max_target_len: usize,
    /// The word that a generated tag belongs to.
    pub alignment: Alignment,
}

/// What a model predicts for an example.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prediction {
    /// BIO tags, one per word.
    pub tags: Vec<String>,
    /// The target that the model generates; empty if it does not generate text.
    pub target: Vec<u32>,
}

/// A model that learns several tasks, one batch of one task at a time.
pub trait Learner {
    /// The tensors that training changes.
    fn parameters(&self) -> &Parameters;

    /// The same, mutable.
    fn parameters_mut(&mut self) -> &mut Parameters;

    /// The loss of `examples` of `task`, summed over their targets. Dropout is applied if `training`.
    ///
    /// # Errors
    /// If the model has no such task.
    fn loss(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        training: bool,
    ) -> Result<StepLoss, ModelError>;

    /// The factor between the summed loss of `examples` and the objective of a step: 1 if a step minimizes the sum (as
    /// HyperLoader's authors do, docs/reference/training.md#loss), `1 / targets` if it minimizes the mean.
    fn loss_scale(&self, examples: &[&Example]) -> f64;

    /// The number of classes that a target of `task` is one of: the size of the vocabulary, or the number of tags.
    fn classes(&self, task: &str) -> usize;

    /// The loss of `examples` of `task`, as [`Learner::loss`] without dropout, and what is predicted for each. Nothing has
    /// gradients.
    ///
    /// # Errors
    /// If the model has no such task, or its output cannot be decoded.
    fn evaluate(
        &self,
        task: &str,
        examples: &[&Example],
        label_smoothing: f64,
        decoding: Decoding,
    ) -> Result<(StepLoss, Vec<Prediction>), ModelError>;

    /// The predicted tags of each of `examples` of `task`, as [`Learner::evaluate`] gives them, with their scores at each of
    /// `temperatures` (docs/scores.md#definitions). Each example comes with its [`Prediction::target`].
    ///
    /// # Errors
    /// As [`Learner::evaluate`].
    fn scored(
        &self,
        task: &str,
        examples: &[(&Example, &[u32])],
        decoding: Decoding,
        temperatures: &[f64],
    ) -> Result<Vec<Scored>, ModelError>;

    /// The tensors of a drafter of `task`, fitted on its training examples by the processes of `group`; `None` if the model
    /// does not generate text.
    ///
    /// # Errors
    /// If the model or its tokenizer fails, or another process failed.
    fn drafter(&self, _task: &TaskData, _seed: u64, _group: &Group) -> Result<Option<Tensors>, ModelError> {
        Ok(None)
    }
}
