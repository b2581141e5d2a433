//! One task's model: the backbone's encoder, the task's modules and classifier.

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::backbone::{Backbone, BackboneError};
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, names};
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use hyperloader_onnx::{BuiltModel, Bytes, Opset, Weight};
use ndarray::{Array, Array2, Array3, Dimension, Ix1, Ix2};

use super::graph::{self, bert_graph};
use crate::graph::GraphError;
use crate::model::ModelError;

/// The model of one task. Tensors of the backbone stay on disk until they are asked for.
#[derive(Debug)]
pub struct BertModel {
    backbone: BertBackbone,
    method: UnipeltBertConfig,
    trained: Tensors,
    task: String,
    tags: usize,
}

/// Keys and values that stand before a layer's own, each `[heads, prefix_len, head_dim]`, before the gate.
#[derive(Debug, Clone)]
pub struct LayerPrefix<T> {
    /// Before the keys.
    pub keys: Array3<T>,
    /// Before the values.
    pub values: Array3<T>,
}

impl BertModel {
    /// The model of `task` with `tags` BIO tags; `trained` are the tensors of a checkpoint.
    pub fn new(
        backbone: BertBackbone,
        method: UnipeltBertConfig,
        trained: Tensors,
        task: &str,
        tags: usize,
    ) -> Self {
        Self { backbone, method, trained, task: task.to_owned(), tags }
    }

    /// The encoder's dimensions.
    pub fn config(&self) -> &BertConfig {
        &self.backbone.config
    }

    /// The codec over its tokenizer.
    ///
    /// # Errors
    /// If the backbone's tokenizer is unusable.
    pub fn codec(&self) -> Result<WordPiece, BackboneError> {
        self.backbone.codec()
    }

    /// The method's hyper-parameters.
    pub fn method(&self) -> &UnipeltBertConfig {
        &self.method
    }

    /// A tensor by name: one of the task's (see [`names`]), else one of the encoder's.
    ///
    /// # Errors
    /// If the model has none of that name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        match self.trained.get(&names::of_task(&self.task, name)) {
            Some(tensor) => Ok(tensor.clone()),
            None => Ok(self.backbone.tensor(name)?),
        }
    }

    /// A tensor in float64.
    ///
    /// # Errors
    /// If there is none of that name and rank.
    pub(super) fn wide<D: Dimension>(&self, name: &str) -> Result<Array<f64, D>, ModelError> {
        let tensor = self.tensor(name)?.mapv(f64::from);
        let found = tensor.shape().to_vec();
        tensor.into_dimensionality().map_err(|_| ModelError::Shape { name: name.to_owned(), found })
    }

    /// `x W^T + b`.
    pub(super) fn linear(&self, x: &Array2<f64>, name: &str) -> Result<Array2<f64>, ModelError> {
        let weight = self.wide::<Ix2>(&format!("{name}.weight"))?;
        Ok(x.dot(&weight.t()) + self.wide::<Ix1>(&format!("{name}.bias"))?)
    }

    /// The prefix of every layer, made in float64: `outer(tanh(inner(embedding)))`, or what was trained itself.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn prefixes(&self) -> Result<Vec<LayerPrefix<f64>>, ModelError> {
        let flat = match self.method.prefix_hidden {
            0 => self.wide::<Ix2>(names::PREFIX)?,
            _ => {
                let embedding = self.wide::<Ix2>(names::PREFIX_EMBEDDING)?;
                let hidden = self.linear(&embedding, names::PREFIX_INNER)?.mapv_into(f64::tanh);
                self.linear(&hidden, names::PREFIX_OUTER)?
            }
        };
        let (heads, width) = (self.config().num_attention_heads, self.config().head_dim());
        let found = flat.shape().to_vec();
        if found != [self.method.prefix_len, 2 * self.config().num_hidden_layers * heads * width] {
            return Err(ModelError::Shape { name: names::PREFIX.to_owned(), found });
        }
        let part = |part: usize| {
            Array3::from_shape_fn((heads, found[0], width), |(head, position, column)| {
                flat[[position, (part * heads + head) * width + column]]
            })
        };
        let layers = 0..self.config().num_hidden_layers;
        Ok(layers.map(|i| LayerPrefix { keys: part(2 * i), values: part(2 * i + 1) }).collect())
    }

    /// The graph of the task.
    ///
    /// # Errors
    /// If it does not hold together, which no model can cause.
    pub fn graph(&self, opset: Opset) -> Result<BuiltModel, GraphError> {
        bert_graph(self.config(), &self.method, self.tags, opset)
    }

    /// The elements of an initializer of [`BertModel::graph`] as little-endian bytes: linear maps transposed to `[in, out]`,
    /// prefixes made, keys as `[heads, head_dim, prefix_len]`.
    ///
    /// # Errors
    /// If the tensor of its name is missing, does not fit, or is not finite.
    pub fn elements(&self, weight: &Weight) -> Result<Bytes, ModelError> {
        let tensor = match graph::prefix_of(&weight.name) {
            Some((layer, part)) => {
                self.prefixes()?.swap_remove(layer).stored(part).mapv(|x| x as f32).into_dyn()
            }
            None => {
                let tensor = self.tensor(&weight.name)?;
                if graph::is_transposed(&weight.name) { tensor.reversed_axes() } else { tensor }
            }
        };
        if tensor.shape() != weight.dims {
            return Err(ModelError::Shape { name: weight.name.clone(), found: tensor.shape().to_vec() });
        }
        if !tensor.iter().all(|x| x.is_finite()) {
            return Err(ModelError::NotFinite(weight.name.clone()));
        }
        Ok(tensor.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
}

impl LayerPrefix<f64> {
    /// Keys `[heads, head_dim, prefix_len]` or values `[heads, prefix_len, head_dim]`, as a file has them.
    fn stored(self, part: graph::PrefixPart) -> Array3<f64> {
        match part {
            graph::PrefixPart::Key => self.keys.permuted_axes([0, 2, 1]),
            graph::PrefixPart::Value => self.values,
        }
    }

    /// Rounded as in a file.
    pub(super) fn rounded(&self) -> Self {
        let round = |x: &Array3<f64>| x.mapv(|x| f64::from(x as f32));
        Self { keys: round(&self.keys), values: round(&self.values) }
    }
}
