//! A task's token classifier: the tensors of the backbone's encoder, the task's modules and classifier.

use std::sync::OnceLock;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::backbone::{BackboneConfig, BackboneError};
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_core::method::{MethodConfig, names as method_names};
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array, Array2, Array3, Dimension, Ix1, Ix2};

use super::graph::{BertParts, Modules};
use super::prefix::{LayerPrefix, PrefixPart, Prefixes};
use crate::arithmetic::layer_norm;
use crate::error::ModelError;
use crate::materialise::task_weights;
use crate::site::tensors::{FoldedTensors, ModelTensors};
use crate::tensor::wide;
use crate::weights::Loras;

/// The model of one task. Tensors of the backbone stay on disk until they are read.
#[derive(Debug)]
pub struct BertModel {
    tensors: ModelTensors<BertBackbone>,
    method: MethodConfig,
    tags: usize,
    prefixes: OnceLock<Vec<LayerPrefix>>,
}

impl BertModel {
    /// The model of `task`, which has `tags` BIO tags, with the tensors of a checkpoint of `method`.
    ///
    /// # Errors
    /// Returns an error if a tensor of the checkpoint is missing or misshapen.
    pub fn new(
        backbone: BertBackbone,
        method: &MethodConfig,
        checkpoint: &Tensors,
        task: &str,
        tags: usize,
    ) -> Result<Self, ModelError> {
        let weights = task_weights(method, &backbone.config.shape(), checkpoint, task)?;
        let trained = of_task(&backbone.config, checkpoint, task);
        let tensors = ModelTensors::new(backbone, trained, weights);
        Ok(Self { tensors, method: method.clone(), tags, prefixes: OnceLock::new() })
    }

    /// Dimensions of the encoder.
    pub fn config(&self) -> &BertConfig {
        &self.tensors.backbone().config
    }

    /// The codec of the backbone's tokenizer.
    ///
    /// # Errors
    /// Returns an error if the tokenizer is unusable.
    pub fn codec(&self) -> Result<WordPiece, BackboneError> {
        self.tensors.backbone().codec()
    }

    /// The hyper-parameters of `unipelt-bert`, if that is the method.
    pub(super) fn gated(&self) -> Option<&UnipeltBertConfig> {
        match &self.method {
            MethodConfig::UnipeltBert(method) => Some(method),
            _ => None,
        }
    }

    /// The tensors of the encoder and of the task.
    pub(super) fn tensors(&self) -> &ModelTensors<BertBackbone> {
        &self.tensors
    }

    /// The parts that the graph is built from.
    pub(super) fn parts(&self, loras: Loras) -> BertParts<'_> {
        let modules = match self.gated() {
            Some(method) => Modules::Gated { method, prefixes: self },
            None => Modules::Ungated { weights: self.tensors.weights(), loras },
        };
        BertParts { config: self.config(), modules, tags: self.tags, tensors: &self.tensors }
    }

    /// The tensor `name` as float64, without LoRA.
    ///
    /// # Errors
    /// Returns an error if there is no tensor of this name, or it has another number of dimensions.
    pub(super) fn wide<D: Dimension>(&self, name: &str) -> Result<Array<f64, D>, ModelError> {
        wide(name, &self.tensors.tensor(name)?)
    }

    /// `x W^T + b` with the tensors `name.weight` and `name.bias`.
    pub(super) fn linear(&self, x: &Array2<f64>, name: &str) -> Result<Array2<f64>, ModelError> {
        let weight = self.wide::<Ix2>(&format!("{name}.weight"))?;
        Ok(x.dot(&weight.t()) + self.wide::<Ix1>(&format!("{name}.bias"))?)
    }

    /// The LayerNorm `name` of each row of `x`.
    pub(super) fn norm(&self, x: &mut Array2<f64>, name: &str) -> Result<(), ModelError> {
        let gamma = self.wide::<Ix1>(&format!("{name}.weight"))?;
        let beta = self.wide::<Ix1>(&format!("{name}.bias"))?;
        layer_norm(x, &gamma.view(), &beta.view(), self.config().layer_norm_eps);
        Ok(())
    }

    /// Checks that folding works for every LoRA pair, so that an untrained or diverged model is found before any other work.
    ///
    /// # Errors
    /// Returns an error that names the first matrix that folding does not change or that is not finite after folding.
    pub fn check_folds(&self) -> Result<(), ModelError> {
        self.tensors.check_folds()
    }

    /// The prefix of every layer, computed in float64 at the first call: `outer(tanh(inner(embedding)))`, or the prefix
    /// itself if it was trained directly. Empty for every method but `unipelt-bert`.
    ///
    /// # Errors
    /// Returns an error if a tensor is missing or misshapen.
    pub(super) fn prefixes(&self) -> Result<&[LayerPrefix], ModelError> {
        if let Some(prefixes) = self.prefixes.get() {
            return Ok(prefixes);
        }
        let prefixes = match self.gated() {
            Some(method) => self.compute_prefixes(method)?,
            None => Vec::new(),
        };
        Ok(self.prefixes.get_or_init(|| prefixes))
    }

    fn compute_prefixes(&self, method: &UnipeltBertConfig) -> Result<Vec<LayerPrefix>, ModelError> {
        let flat = match method.prefix_hidden {
            0 => self.wide::<Ix2>(names::PREFIX)?,
            _ => {
                let embedding = self.wide::<Ix2>(names::PREFIX_EMBEDDING)?;
                let hidden = self.linear(&embedding, names::PREFIX_INNER)?.mapv_into(f64::tanh);
                self.linear(&hidden, names::PREFIX_OUTER)?
            }
        };
        let (heads, width) = (self.config().num_attention_heads, self.config().head_dim());
        let (found, layers) = (flat.shape().to_vec(), self.config().num_hidden_layers);
        let expected = vec![method.prefix_len, 2 * layers * heads * width];
        if found != expected {
            return Err(ModelError::Shape { name: names::PREFIX.to_owned(), found, expected });
        }
        let part = |part: usize| {
            Array3::from_shape_fn((heads, found[0], width), |(head, position, column)| {
                flat[[position, (part * heads + head) * width + column]]
            })
        };
        Ok((0..layers).map(|i| LayerPrefix { keys: part(2 * i), values: part(2 * i + 1) }).collect())
    }
}

impl Prefixes for BertModel {
    fn prefix(&self, layer: usize, part: PrefixPart) -> Result<HostTensor, ModelError> {
        Ok(self.prefixes()?[layer].part(part))
    }
}

/// The tensors of a checkpoint that replace those of the encoder or belong to `task`, by the names that the graph gives them.
fn of_task(config: &BertConfig, checkpoint: &Tensors, task: &str) -> Tensors {
    let beginning = method_names::of_task(task, "");
    let encoder = config.tensors();
    let named = |(name, tensor): (&String, &HostTensor)| {
        let name = match name.strip_prefix(&beginning) {
            Some(own) => own.to_owned(),
            None => encoder.contains_key(name).then(|| name.clone())?,
        };
        Some((name, tensor.clone()))
    };
    checkpoint.iter().filter_map(named).collect()
}
