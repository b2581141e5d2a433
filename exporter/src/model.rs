//! One task's model, un-folded: the backbone's tensors, the norms that training changed, and the generated weights.

use std::path::Path;

use hyperloader_core::backbone::t5::{Attention, Stack, T5Backbone, T5Config, names};
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_core::weights::task::{Lora, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use hyperloader_onnx::{Bytes, Weight};
use ndarray::{Array, ArrayD, Dimension};

use crate::fold::{FoldError, fold};
use crate::graph::{ElementsError, weight_elements};

/// A tensor of a task's model could not be had, or the model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The backbone lacks it.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// Its LoRA pair could not be folded into it.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A tensor has another rank or shape than its place in the model.
    #[error("tensor `{name}` has shape {found:?}, which does not fit its place in the model")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// An id that the embedding has no row for.
    #[error("id {id} is outside the model's vocabulary of {vocab_size}")]
    Id {
        /// The id.
        id: i64,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// A tensor does not fit the weight that it is stored as.
    #[error(transparent)]
    Elements(#[from] ElementsError),
    /// A tensor holds an infinity or a NaN.
    #[error(
        "tensor `{0}` holds values that are not finite\nhint: training diverged; take an earlier checkpoint or a lower learning rate"
    )]
    NotFinite(String),
    /// Inputs that do not belong together.
    #[error("the attention mask has shape {mask:?}, the ids have {ids:?}")]
    Mask {
        /// Shape of the mask.
        mask: Vec<usize>,
        /// Shape of the ids.
        ids: Vec<usize>,
    },
}

/// The model of one task. Tensors of the backbone stay on disk until they are asked for.
#[derive(Debug)]
pub struct TaskModel {
    backbone: T5Backbone,
    trained: Tensors,
    weights: TaskWeights<HostTensor>,
    drafter: Option<Drafter>,
}

impl TaskModel {
    /// The model of `backbone` with `weights`, where a tensor of `trained` takes the place of the backbone's tensor of
    /// the same name (reference section 1.5: the norms; all of them in full fine-tuning).
    pub fn new(backbone: T5Backbone, trained: Tensors, weights: TaskWeights<HostTensor>) -> Self {
        Self { backbone, trained, weights, drafter: None }
    }

    /// The same with a drafter, if the task has one.
    pub fn with_drafter(self, drafter: Option<Drafter>) -> Self {
        Self { drafter, ..self }
    }

    /// The task's drafter.
    pub fn drafter(&self) -> Option<&Drafter> {
        self.drafter.as_ref()
    }

    /// Number of tags that the drafter tells apart.
    pub fn draft_tags(&self) -> Option<usize> {
        self.drafter().map(|drafter| drafter.transitions.tags())
    }

    /// The backbone's folder.
    pub fn folder(&self) -> &Path {
        &self.backbone.folder
    }

    /// Its dimensions.
    pub fn config(&self) -> &T5Config {
        &self.backbone.config
    }

    /// What the method generated for the task.
    pub fn weights(&self) -> &TaskWeights<HostTensor> {
        &self.weights
    }

    /// A tensor of T5 by Hugging Face's name, as trained, LoRA left out.
    ///
    /// # Errors
    /// If the model has none of that name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        match self.trained.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => Ok(self.backbone.tensor(name)?),
        }
    }

    /// A tensor of T5 by Hugging Face's name, its LoRA pair folded in if it has one.
    ///
    /// # Errors
    /// If the model has none of that name, or folding fails its checks.
    pub fn folded_tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        let tensor = self.tensor(name)?;
        match self.loras().find(|(folded, _)| folded == name) {
            Some((_, lora)) => Ok(fold(name, &tensor, lora)?),
            None => Ok(tensor),
        }
    }

    /// Folds every LoRA pair once, so that an untrained or diverged model is found before anything else is done.
    ///
    /// # Errors
    /// Names the first matrix that folding leaves as it was, or that is not finite then.
    pub fn check_folds(&self) -> Result<(), ModelError> {
        for (name, lora) in self.loras() {
            fold(&name, &self.tensor(&name)?, lora)?;
        }
        Ok(())
    }

    /// The elements of `weight` of this model's graph, made from the tensor of its name.
    ///
    /// # Errors
    /// If the tensor does not fit, or is not finite.
    pub fn stored(&self, weight: &Weight, tensor: &HostTensor) -> Result<Bytes, ModelError> {
        if !tensor.iter().all(|x| x.is_finite()) {
            return Err(ModelError::NotFinite(weight.name.clone()));
        }
        Ok(weight_elements(self.config(), weight, tensor)?)
    }

    /// Every LoRA pair with the name of the matrix that it belongs to.
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

/// A tensor as float64, with the rank of its place.
pub(crate) fn wide<D: Dimension>(name: &str, tensor: &HostTensor) -> Result<Array<f64, D>, ModelError> {
    shaped(name, tensor.mapv(f64::from))
}

/// A tensor with the rank of its place.
pub(crate) fn shaped<T, D: Dimension>(name: &str, tensor: ArrayD<T>) -> Result<Array<T, D>, ModelError> {
    let found = tensor.shape().to_vec();
    tensor.into_dimensionality().map_err(|_| ModelError::Shape { name: name.to_owned(), found })
}
