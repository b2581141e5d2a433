//! BERT's encoder as Hugging Face computes it, with a task's modules in every layer.

use hyperloader_core::backbone::bert::{BertConfig, names};
use hyperloader_core::weights::task::{LayerNorm, Linear};
use tch::{Kind, Tensor};

use super::gated::Gated;
use super::modules::{BertTask, LayerModules, Observe, Observed, SubLayer, TaskModules};
use super::ungated::Ungated;
use crate::linear::affine;
use crate::model::adapter::layer_norm;
use crate::model::mode::Mode;
use crate::model::packing::{Packing, packed, padded};

/// Added to the scores of padding, as in BERT.
const MASKED: f64 = -1e4;

/// The encoder of a BERT.
#[derive(Debug)]
pub struct Bert {
    /// Dimensions of the backbone; its dropout rates are applied in training.
    pub config: BertConfig,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    embedding_norm: LayerNorm<Tensor>,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    query: Linear<Tensor>,
    key: Linear<Tensor>,
    value: Linear<Tensor>,
    attention_output: Linear<Tensor>,
    attention_norm: LayerNorm<Tensor>,
    intermediate: Linear<Tensor>,
    output: Linear<Tensor>,
    output_norm: LayerNorm<Tensor>,
}

/// What all layers of a forward pass share.
struct Pass<'a, 'o> {
    modules: &'a dyn LayerModules,
    /// The tokens, if states are `[tokens, hidden_size]`; without it they are `[batch, source_len, hidden_size]`.
    packing: Option<&'a Packing>,
    /// The mask as a bias on scores, `[batch, 1, 1, prefix_len + source_len]`.
    bias: Tensor,
    /// Dropout of attention weights.
    attention: Mode,
    observe: &'a mut Observe<'o>,
}

impl Bert {
    /// Builds a BERT. `tensor` is called once for each name of [`BertConfig::tensors`]; a tensor that requires a gradient
    /// receives one in the backward pass.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn new<E>(config: &BertConfig, mut tensor: impl FnMut(&str) -> Result<Tensor, E>) -> Result<Self, E> {
        let embedding_norm = norm(names::EMBEDDING_NORM, config, &mut tensor)?;
        let layers = (0..config.num_hidden_layers).map(|i| Layer::new(config, i, &mut tensor));
        let layers = layers.collect::<Result<_, E>>()?;
        Ok(Self {
            config: config.clone(),
            words: tensor(names::WORDS)?,
            positions: tensor(names::POSITIONS)?,
            types: tensor(names::TYPES)?,
            embedding_norm,
            layers,
        })
    }

    /// The device of the tensors.
    pub fn device(&self) -> tch::Device {
        self.words.device()
    }

    /// Logits of BIO tags, `[batch, source_len, tags]`, of `input_ids` and `attention_mask` (1 for a token, 0 for padding),
    /// both `[batch, source_len]`. Those of padding have no meaning. Dropout is applied if `training`.
    pub fn logits(
        &self,
        task: &BertTask,
        [input_ids, attention_mask]: [&Tensor; 2],
        training: bool,
    ) -> Tensor {
        // A gate is a mean over a row of the batch.
        if let TaskModules::Gated { .. } = task.modules {
            return self.logits_observed(task, [input_ids, attention_mask], training, &mut |_| ());
        }
        let packing = Packing::new(attention_mask);
        let x = self.embed(&packing.packed(input_ids), &packing.columns());
        let logits = self.classified(task, (x, Some(&packing)), attention_mask, training, &mut |_| ());
        packing.padded(&logits)
    }

    /// [`Bert::logits`]; `observe` is called with the intermediate values.
    pub fn logits_observed(
        &self,
        task: &BertTask,
        [input_ids, attention_mask]: [&Tensor; 2],
        training: bool,
        observe: &mut dyn FnMut(Observed<'_>),
    ) -> Tensor {
        let columns = Tensor::arange(input_ids.size()[1], (Kind::Int64, self.device()));
        self.classified(task, (self.embed(input_ids, &columns), None), attention_mask, training, observe)
    }

    /// The logits of embeddings, in their layout.
    fn classified(
        &self,
        task: &BertTask,
        (embedded, packing): (Tensor, Option<&Packing>),
        attention_mask: &Tensor,
        training: bool,
        observe: &mut dyn FnMut(Observed<'_>),
    ) -> Tensor {
        let mode = |rate| if training { Mode::Training { dropout: rate } } else { Mode::Evaluation };
        let [hidden, attention] =
            [self.config.hidden_dropout_prob, self.config.attention_probs_dropout_prob].map(mode);
        let kind = self.words.kind();
        let mask = attention_mask.to_kind(kind);
        let modules = self.modules(&task.modules, &mask);
        let visible = Tensor::ones([mask.size()[0], modules.prefix_len()], (kind, mask.device()));
        let bias = (Tensor::cat(&[visible, mask], 1) * -MASKED + MASKED).unsqueeze(1).unsqueeze(1);
        let mut pass = Pass { modules: &*modules, packing, bias, attention, observe };
        let mut x = hidden.dropout(embedded);
        (pass.observe)(Observed::Hidden(&x));
        for (index, layer) in self.layers.iter().enumerate() {
            let output = self.attend(layer, index, &x, &mut pass);
            let done = SubLayer { input: x, output };
            let x1 = pass.modules.after_attention(index, done, &layer.attention_norm, hidden);
            let output = layer.feed_forward(&x1);
            let done = SubLayer { input: x1, output };
            x = pass.modules.after_feed_forward(index, done, &layer.output_norm, hidden, pass.observe);
            (pass.observe)(Observed::Hidden(&x));
        }
        affine(&hidden.dropout(x), &task.classifier)
    }

    /// What a task adds to the layers, in a pass over sources with this `mask` `[batch, source_len]`, as floats.
    fn modules<'a>(&self, task: &'a TaskModules, mask: &Tensor) -> Box<dyn LayerModules + 'a> {
        match task {
            TaskModules::Ungated(weights) => Box::new(Ungated { layers: &weights.encoder }),
            TaskModules::Gated { weights, over_padding } => {
                Box::new(Gated::new(weights, &self.config, mask, *over_padding))
            }
        }
    }

    /// The normalized sum of the embeddings of words, of positions, which are `columns`, and of the type.
    fn embed(&self, ids: &Tensor, columns: &Tensor) -> Tensor {
        let words = Tensor::embedding(&self.words, ids, -1, false, false);
        let x = words + self.positions.index_select(0, columns) + self.types.get(0);
        layer_norm(&x, &self.embedding_norm)
    }

    /// The output of a layer's attention, before dropout and residual.
    fn attend(&self, layer: &Layer, index: usize, x: &Tensor, pass: &mut Pass<'_, '_>) -> Tensor {
        let (modules, packing) = (pass.modules, pass.packing);
        let queries = self.split_heads(modules.queries(index, x, &layer.query, pass.observe), packing);
        let mut values = self.split_heads(modules.values(index, x, &layer.value, pass.observe), packing);
        let mut keys = self.split_heads(affine(x, &layer.key), packing);
        if let Some([before_keys, before_values]) = modules.prefix(index, x, pass.observe) {
            keys = Tensor::cat(&[before_keys, keys], 2);
            values = Tensor::cat(&[before_values, values], 2);
        }
        let scale = (self.config.head_dim() as f64).powf(-0.5);
        let scores = queries.matmul(&keys.transpose(-1, -2)) * scale + &pass.bias;
        let weights = pass.attention.dropout(scores.softmax(-1, None::<Kind>));
        let mixed = weights.matmul(&values).transpose(1, 2).flatten(2, 3);
        affine(&packed(mixed, packing), &layer.attention_output)
    }

    /// `[batch, len, hidden_size]`, or `[tokens, hidden_size]` if packed, to `[batch, heads, len, head_dim]`.
    fn split_heads(&self, x: Tensor, packing: Option<&Packing>) -> Tensor {
        let x = padded(x, packing);
        let (heads, width) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        x.view([x.size()[0], x.size()[1], heads, width]).transpose(1, 2)
    }
}

impl Layer {
    fn new<E>(
        config: &BertConfig,
        layer: usize,
        tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let mut map = |part| -> Result<Linear<Tensor>, E> {
            let name = names::layer(layer, part);
            Ok(Linear { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
        };
        let (query, key, value) = (map(names::QUERY)?, map(names::KEY)?, map(names::VALUE)?);
        let attention_output = map(names::ATTENTION_OUTPUT)?;
        let (intermediate, output) = (map(names::INTERMEDIATE)?, map(names::OUTPUT)?);
        let mut norm = |part| norm(&names::layer(layer, part), config, tensor);
        let (attention_norm, output_norm) = (norm(names::ATTENTION_NORM)?, norm(names::OUTPUT_NORM)?);
        Ok(Self { query, key, value, attention_output, attention_norm, intermediate, output, output_norm })
    }

    /// The output of the feed-forward layer, before dropout and residual.
    fn feed_forward(&self, x: &Tensor) -> Tensor {
        affine(&affine(x, &self.intermediate).gelu("none"), &self.output)
    }
}

/// The norm `name` of a BERT.
fn norm<E>(
    name: &str,
    config: &BertConfig,
    tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<LayerNorm<Tensor>, E> {
    let (gamma, beta) = (tensor(&format!("{name}.weight"))?, tensor(&format!("{name}.bias"))?);
    Ok(LayerNorm { gamma, beta, eps: config.layer_norm_eps })
}
