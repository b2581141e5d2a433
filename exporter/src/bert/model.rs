//! A task's token classifier: the tensors of the backbone's encoder, the task's modules and classifier.

use std::cell::OnceCell;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array, Array2, Array3, Dimension, Ix1, Ix2};

use super::graph::{BertParts, BertTensors, PrefixPart};
use crate::error::ModelError;
use crate::tensor::wide;

/// The model of one task. Tensors of the backbone stay on disk until they are read.
#[derive(Debug)]
pub struct BertModel {
    backbone: BertBackbone,
    method: UnipeltBertConfig,
    trained: Tensors,
    task: String,
    tags: usize,
    prefixes: OnceCell<Vec<LayerPrefix>>,
}

/// Keys and values before those of a layer, each `[heads, prefix_len, head_dim]`, not multiplied with the gate.
#[derive(Debug, Clone)]
pub struct LayerPrefix {
    /// Before the keys.
    pub keys: Array3<f64>,
    /// Before the values.
    pub values: Array3<f64>,
}

impl BertModel {
    /// The model of `task`, which has `tags` BIO tags, with the tensors `trained` of a checkpoint.
    pub fn new(
        backbone: BertBackbone,
        method: UnipeltBertConfig,
        trained: Tensors,
        task: &str,
        tags: usize,
    ) -> Self {
        Self { backbone, method, trained, task: task.to_owned(), tags, prefixes: OnceCell::new() }
    }

    /// Dimensions of the encoder.
    pub fn config(&self) -> &BertConfig {
        &self.backbone.config
    }

    /// The codec of the backbone's tokenizer.
    ///
    /// # Errors
    /// Returns an error if the tokenizer is unusable.
    pub fn codec(&self) -> Result<WordPiece, BackboneError> {
        self.backbone.codec()
    }

    /// Hyper-parameters of the method.
    pub fn method(&self) -> &UnipeltBertConfig {
        &self.method
    }

    /// The parts that the graph is built from.
    pub(super) fn parts(&self) -> BertParts<'_> {
        BertParts { config: self.config(), method: &self.method, tags: self.tags, tensors: self }
    }

    /// The tensor `name` as float64.
    ///
    /// # Errors
    /// Returns an error if there is no tensor of this name, or it has another number of dimensions.
    pub(super) fn wide<D: Dimension>(&self, name: &str) -> Result<Array<f64, D>, ModelError> {
        wide(name, &self.tensor(name)?)
    }

    /// `x W^T + b` with the tensors `name.weight` and `name.bias`.
    pub(super) fn linear(&self, x: &Array2<f64>, name: &str) -> Result<Array2<f64>, ModelError> {
        let weight = self.wide::<Ix2>(&format!("{name}.weight"))?;
        Ok(x.dot(&weight.t()) + self.wide::<Ix1>(&format!("{name}.bias"))?)
    }

    /// The prefix of every layer, computed in float64 at the first call: `outer(tanh(inner(embedding)))`, or the prefix
    /// itself if it was trained directly.
    ///
    /// # Errors
    /// Returns an error if a tensor is missing or misshapen.
    pub fn prefixes(&self) -> Result<&[LayerPrefix], ModelError> {
        if let Some(prefixes) = self.prefixes.get() {
            return Ok(prefixes);
        }
        let prefixes = self.compute_prefixes()?;
        Ok(self.prefixes.get_or_init(|| prefixes))
    }

    fn compute_prefixes(&self) -> Result<Vec<LayerPrefix>, ModelError> {
        let flat = match self.method.prefix_hidden {
            0 => self.wide::<Ix2>(names::PREFIX)?,
            _ => {
                let embedding = self.wide::<Ix2>(names::PREFIX_EMBEDDING)?;
                let hidden = self.linear(&embedding, names::PREFIX_INNER)?.mapv_into(f64::tanh);
                self.linear(&hidden, names::PREFIX_OUTER)?
            }
        };
        let (heads, width) = (self.config().num_attention_heads, self.config().head_dim());
        let (found, layers) = (flat.shape().to_vec(), self.config().num_hidden_layers);
        let expected = vec![self.method.prefix_len, 2 * layers * heads * width];
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

impl BertTensors for BertModel {
    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        match self.trained.get(&names::of_task(&self.task, name)) {
            Some(tensor) => Ok(tensor.clone()),
            None => Ok(self.backbone.tensor(name)?),
        }
    }

    fn prefix(&self, layer: usize, part: PrefixPart) -> Result<HostTensor, ModelError> {
        let prefix = &self.prefixes()?[layer];
        let values = match part {
            PrefixPart::Keys => &prefix.keys,
            PrefixPart::Values => &prefix.values,
        };
        Ok(values.mapv(|x| x as f32).into_dyn())
    }
}

impl LayerPrefix {
    /// The prefix rounded to float32, as a file contains it.
    pub(super) fn rounded(&self) -> Self {
        let round = |x: &Array3<f64>| x.mapv(|x| f64::from(x as f32));
        Self { keys: round(&self.keys), values: round(&self.values) }
    }
}
