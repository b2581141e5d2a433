//! A task's T5: the tensors of the backbone, those that training changed, and the task's weights.

use std::path::Path;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::{Attention, Stack, T5Backbone, T5Config, names};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_core::weights::task::{Lora, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use crate::error::ModelError;
use crate::fold::fold;
use crate::t5::graph::FoldedTensors;

/// The model of one task. Tensors of the backbone stay on disk until they are read.
#[derive(Debug)]
pub struct T5Model {
    backbone: T5Backbone,
    trained: Tensors,
    weights: TaskWeights<HostTensor>,
    drafter: Option<Drafter>,
}

impl T5Model {
    /// The model of `backbone` with the task's `weights`. A tensor of `trained` replaces the backbone's tensor of the same
    /// name: the norms, or all tensors in full fine-tuning (`docs/reference/hyperloader.md#trainable-tensors`).
    pub fn new(backbone: T5Backbone, trained: Tensors, weights: TaskWeights<HostTensor>) -> Self {
        Self { backbone, trained, weights, drafter: None }
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
        &self.backbone.folder
    }

    /// Dimensions of the backbone.
    pub fn config(&self) -> &T5Config {
        &self.backbone.config
    }

    /// Adapters, LoRA pairs and the generator of the task.
    pub fn weights(&self) -> &TaskWeights<HostTensor> {
        &self.weights
    }

    /// The tensor with Hugging Face's name `name`, frozen or trained, without LoRA.
    ///
    /// # Errors
    /// Returns an error if the model has no tensor of this name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        match self.trained.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => Ok(self.backbone.tensor(name)?),
        }
    }

    /// The tensor with Hugging Face's name `name`, with its LoRA pair folded in if it has one.
    ///
    /// # Errors
    /// Returns an error if the model has no tensor of this name, or folding fails one of its checks.
    pub fn folded_tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        let tensor = self.tensor(name)?;
        match self.loras().find(|(folded, _)| folded == name) {
            Some((_, lora)) => Ok(fold(name, &tensor, lora)?),
            None => Ok(tensor),
        }
    }

    /// Folds every LoRA pair, so that an untrained or diverged model is found before any other work.
    ///
    /// # Errors
    /// Returns an error that names the first matrix that folding does not change or that is not finite after folding.
    pub fn check_folds(&self) -> Result<(), ModelError> {
        for (name, lora) in self.loras() {
            fold(&name, &self.tensor(&name)?, lora)?;
        }
        Ok(())
    }

    /// Every LoRA pair with the name of the matrix that it updates.
    pub fn loras(&self) -> impl Iterator<Item = (String, &Lora<HostTensor>)> {
        Stack::BOTH.into_iter().flat_map(move |stack| {
            let blocks = self.weights.blocks(stack).iter().enumerate();
            blocks.flat_map(move |(block, weights)| {
                Attention::of(stack).iter().flat_map(move |kind| {
                    let of = weights.attention(*kind);
                    let name = move |part| names::attention(stack, block, *kind, part);
                    let q = of.q.as_ref().map(|lora| (name("q"), lora));
                    q.into_iter().chain(of.v.as_ref().map(|lora| (name("v"), lora)))
                })
            })
        })
    }
}

impl FoldedTensors for T5Model {
    fn folded_tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        self.folded_tensor(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        self.tensor(name)
    }
}
