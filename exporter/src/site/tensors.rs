//! The tensors of a task's model: those of the backbone, those that training changed, and LoRA pairs.

use std::fmt;

use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::shape::SiteShape;
use hyperloader_core::weights::in_place::TensorRef;
use hyperloader_core::weights::task::{Lora, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use crate::error::ModelError;
use crate::fold::fold;
use crate::weights::{Layout, Loras, Part, Source};

/// Reads the tensors of a task's model.
pub trait FoldedTensors: fmt::Debug {
    /// The tensor with Hugging Face's name `name`, frozen or trained, with its LoRA pair folded in if it has one.
    ///
    /// # Errors
    /// Returns an error if there is no tensor of this name, or folding fails.
    fn folded_tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError>;

    /// The same tensor without its LoRA pair.
    ///
    /// # Errors
    /// Returns an error if there is no tensor of this name.
    fn tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError>;

    /// Whether the tensor `name` is updated by a LoRA pair.
    fn is_updated(&self, name: &str) -> bool;

    /// Removes the bytes of the tensor `name`, which a checkpoint's file may hold, from the memory of this process.
    fn release(&self, name: &str);
}

/// The tensor `name` as the source of a weight of a graph with its LoRA pairs at `loras`.
pub(crate) fn source<'a>(
    tensors: &'a dyn FoldedTensors,
    loras: Loras,
    name: &str,
    part: Part,
    layout: Layout,
) -> Source<'a> {
    let (name, released) = (name.to_owned(), name.to_owned());
    let load = move || match loras {
        Loras::Separate => tensors.tensor(&name),
        Loras::Folded => tensors.folded_tensor(&name),
    };
    Source::mapped(part, layout, load, move || tensors.release(&released))
}

/// The tensors of a task's model on the backbone `B`. Tensors of the backbone stay on disk until they are read.
#[derive(Debug)]
pub(crate) struct ModelTensors<B> {
    backbone: B,
    trained: Tensors,
    weights: TaskWeights<HostTensor>,
    lora_sites: Vec<SiteShape>,
}

impl<B: Backbone> ModelTensors<B> {
    /// The tensors of `backbone` with the task's `weights`. A tensor of `trained` replaces the backbone's tensor of the same
    /// name (`docs/reference/hyperloader.md#trainable-tensors`).
    pub(crate) fn new(backbone: B, trained: Tensors, weights: TaskWeights<HostTensor>) -> Self {
        let lora_sites = backbone.config().shape().loras().cloned().collect();
        Self { backbone, trained, weights, lora_sites }
    }

    pub(crate) fn backbone(&self) -> &B {
        &self.backbone
    }

    /// Adapters, LoRA pairs and the generator of the task.
    pub(crate) fn weights(&self) -> &TaskWeights<HostTensor> {
        &self.weights
    }

    /// Every LoRA pair with the name of the matrix that it updates.
    pub(crate) fn loras(&self) -> impl Iterator<Item = (String, &Lora<HostTensor>)> {
        self.lora_sites.iter().filter_map(|site| {
            let pair = self.weights.blocks(site.stack)[site.block].lora(site.site)?;
            Some((format!("{}.weight", site.module), pair))
        })
    }

    /// The LoRA pair that updates the matrix `name`.
    pub(crate) fn lora(&self, name: &str) -> Option<&Lora<HostTensor>> {
        self.loras().find(|(updated, _)| updated == name).map(|(_, pair)| pair)
    }

    /// Folds every LoRA pair, so that an untrained or diverged model is found before any other work.
    ///
    /// # Errors
    /// Returns an error that names the first matrix that folding does not change or that is not finite after folding.
    pub(crate) fn check_folds(&self) -> Result<(), ModelError> {
        for (name, lora) in self.loras() {
            fold(&name, &self.tensor(&name)?, lora)?;
            self.release(&name);
        }
        Ok(())
    }
}

impl<B: Backbone> FoldedTensors for ModelTensors<B> {
    fn folded_tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        let tensor = self.tensor(name)?;
        match self.lora(name) {
            Some(lora) => Ok(fold(name, &tensor, lora)?.into()),
            None => Ok(tensor),
        }
    }

    fn tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        match self.trained.get(name) {
            Some(tensor) => Ok(tensor.view().into()),
            None => Ok(self.backbone.tensor_in_place(name)?),
        }
    }

    fn is_updated(&self, name: &str) -> bool {
        self.lora(name).is_some()
    }

    fn release(&self, name: &str) {
        self.backbone.release(name);
    }
}
