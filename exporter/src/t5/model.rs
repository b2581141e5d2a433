//! A task's T5: the tensors of the backbone, those that training changed, and the task's weights.

use std::path::Path;

use hyperloader_core::backbone::t5::{T5Backbone, T5Config};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_core::weights::task::{Lora, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use crate::error::ModelError;
use crate::site::tensors::{FoldedTensors, ModelTensors};

/// The model of one task. Tensors of the backbone stay on disk until they are read.
#[derive(Debug)]
pub struct T5Model {
    tensors: ModelTensors<T5Backbone>,
    drafter: Option<Drafter>,
}

impl T5Model {
    /// The model of `backbone` with the task's `weights`. A tensor of `trained` replaces the backbone's tensor of the same
    /// name: the norms, or all tensors in full fine-tuning (`docs/reference/hyperloader.md#trainable-tensors`).
    pub fn new(backbone: T5Backbone, trained: Tensors, weights: TaskWeights<HostTensor>) -> Self {
        Self { tensors: ModelTensors::new(backbone, trained, weights), drafter: None }
    }

    /// The same model with the task's drafter, if it has one.
    pub fn with_drafter(self, drafter: Option<Drafter>) -> Self {
        Self { drafter, ..self }
    }

    /// The task's drafter, if it has one.
    pub fn drafter(&self) -> Option<&Drafter> {
        self.drafter.as_ref()
    }

    /// Folder of the backbone.
    pub fn folder(&self) -> &Path {
        &self.tensors.backbone().folder
    }

    /// Dimensions of the backbone.
    pub fn config(&self) -> &T5Config {
        &self.tensors.backbone().config
    }

    /// Adapters, LoRA pairs and the generator of the task.
    pub fn weights(&self) -> &TaskWeights<HostTensor> {
        self.tensors.weights()
    }

    /// Reads the tensors.
    pub(super) fn tensors(&self) -> &dyn FoldedTensors {
        &self.tensors
    }

    /// The tensor with Hugging Face's name `name`, frozen or trained, without LoRA.
    ///
    /// # Errors
    /// Returns an error if the model has no tensor of this name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        Ok(self.tensors.tensor(name)?.into_owned())
    }

    /// The tensor with Hugging Face's name `name`, with its LoRA pair folded in if it has one.
    ///
    /// # Errors
    /// Returns an error if the model has no tensor of this name, or folding fails one of its checks.
    pub fn folded_tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        Ok(self.tensors.folded_tensor(name)?.into_owned())
    }

    /// Folds every LoRA pair, so that an untrained or diverged model is found before any other work.
    ///
    /// # Errors
    /// Returns an error that names the first matrix that folding does not change or that is not finite after folding.
    pub fn check_folds(&self) -> Result<(), ModelError> {
        self.tensors.check_folds()
    }

    /// Every LoRA pair with the name of the matrix that it updates.
    pub fn loras(&self) -> impl Iterator<Item = (String, &Lora<HostTensor>)> {
        self.tensors.loras()
    }
}
