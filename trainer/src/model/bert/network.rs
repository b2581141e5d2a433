//! BERT's encoder as Hugging Face computes it, with a task's modules in every layer.

use hyperloader_core::backbone::bert::{BertConfig, names};
use hyperloader_core::method::unipelt_bert::{PeltLayer, UnipeltWeights};
use hyperloader_core::weights::task::Linear;
use tch::{Kind, Tensor};

use super::modules::{GateMean, gated_lora, linear, prefixes};

/// Added to the scores of padding, as in BERT.
const MASKED: f64 = -1e4;

/// The dropout probabilities of a forward pass.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    hidden: f64,
    attention: f64,
}

impl Dropout {
    fn of(x: Tensor, rate: f64) -> Tensor {
        if rate > 0.0 { x.dropout(rate, true) } else { x }
    }

    fn hidden(self, x: Tensor) -> Tensor {
        Self::of(x, self.hidden)
    }
}

/// An intermediate value of a forward pass.
#[derive(Debug)]
pub enum Observed<'a> {
    /// The embeddings, then the output of each layer, `[batch, source_len, hidden_size]`.
    Hidden(&'a Tensor),
    /// The prefix as a layer's keys and values, each `[1, heads, prefix_len, head_dim]`, before the gate.
    Prefix(&'a Tensor, &'a Tensor),
    /// A gate of a layer, `[batch]`, by name: `lora_query`, `lora_value`, `prefix`, `adapter`.
    Gate(&'static str, &'a Tensor),
}

/// The frozen encoder of a BERT.
#[derive(Debug)]
pub struct Bert {
    /// Dimensions of the backbone; its dropout rates are applied in training.
    pub config: BertConfig,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    embedding_norm: Linear<Tensor>,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    query: Linear<Tensor>,
    key: Linear<Tensor>,
    value: Linear<Tensor>,
    attention_output: Linear<Tensor>,
    attention_norm: Linear<Tensor>,
    intermediate: Linear<Tensor>,
    output: Linear<Tensor>,
    output_norm: Linear<Tensor>,
}

/// What all layers of a forward pass share.
struct Pass<'a> {
    gates: GateMean,
    /// The mask as a bias on scores, `[batch, 1, 1, prefix_len + source_len]`.
    bias: Tensor,
    dropout: Dropout,
    observe: &'a mut dyn FnMut(Observed<'_>),
}

impl Bert {
    /// Builds a BERT. `tensor` is called once for each name of [`BertConfig::tensors`].
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn new<E>(config: &BertConfig, mut tensor: impl FnMut(&str) -> Result<Tensor, E>) -> Result<Self, E> {
        let mut pair = |name: &str| -> Result<Linear<Tensor>, E> {
            Ok(Linear { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
        };
        let embedding_norm = pair(names::EMBEDDING_NORM)?;
        let mut layer = |i| -> Result<Layer, E> {
            let mut part = |part| pair(&names::layer(i, part));
            Ok(Layer {
                query: part(names::QUERY)?,
                key: part(names::KEY)?,
                value: part(names::VALUE)?,
                attention_output: part(names::ATTENTION_OUTPUT)?,
                attention_norm: part(names::ATTENTION_NORM)?,
                intermediate: part(names::INTERMEDIATE)?,
                output: part(names::OUTPUT)?,
                output_norm: part(names::OUTPUT_NORM)?,
            })
        };
        let layers = (0..config.num_hidden_layers).map(&mut layer).collect::<Result<_, E>>()?;
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
    /// both `[batch, source_len]`. Dropout is applied if `training`.
    pub fn logits(
        &self,
        pelt: &UnipeltWeights<Tensor>,
        gate_over_padding: bool,
        [input_ids, attention_mask]: [&Tensor; 2],
        training: bool,
    ) -> Tensor {
        self.logits_observed(pelt, gate_over_padding, [input_ids, attention_mask], training, &mut |_| ())
    }

    /// [`Bert::logits`]; `observe` is called with the intermediate values.
    pub fn logits_observed(
        &self,
        pelt: &UnipeltWeights<Tensor>,
        gate_over_padding: bool,
        [input_ids, attention_mask]: [&Tensor; 2],
        training: bool,
        observe: &mut dyn FnMut(Observed<'_>),
    ) -> Tensor {
        let dropout = match training {
            true => Dropout {
                hidden: self.config.hidden_dropout_prob,
                attention: self.config.attention_probs_dropout_prob,
            },
            false => Dropout { hidden: 0.0, attention: 0.0 },
        };
        let prefixes = prefixes(&pelt.prefix, &self.config);
        let kind = self.words.kind();
        let mask = attention_mask.to_kind(kind);
        let visible = Tensor::ones([mask.size()[0], prefixes.len], (kind, mask.device()));
        let bias =
            (Tensor::cat(&[visible, mask.shallow_clone()], 1) * -MASKED + MASKED).unsqueeze(1).unsqueeze(1);
        let mut pass = Pass { gates: GateMean::new(&mask, gate_over_padding), bias, dropout, observe };
        let mut x = dropout.hidden(self.embed(input_ids));
        (pass.observe)(Observed::Hidden(&x));
        for ((layer, modules), (keys, values)) in self.layers.iter().zip(&pelt.layers).zip(&prefixes.layers) {
            (pass.observe)(Observed::Prefix(keys, values));
            let y = self.attend(layer, modules, &x, (keys, values), &mut pass);
            let x1 = self.norm(&(dropout.hidden(y) + &x), &layer.attention_norm);
            x = self.feed_forward(layer, modules, &x1, &mut pass);
            (pass.observe)(Observed::Hidden(&x));
        }
        linear(&dropout.hidden(x), &pelt.classifier)
    }

    /// The normalized sum of word, position and type embeddings.
    fn embed(&self, ids: &Tensor) -> Tensor {
        let words = Tensor::embedding(&self.words, ids, -1, false, false);
        let x = words + self.positions.narrow(0, 0, ids.size()[1]) + self.types.get(0);
        self.norm(&x, &self.embedding_norm)
    }

    fn attend(
        &self,
        layer: &Layer,
        modules: &PeltLayer<Tensor>,
        x: &Tensor,
        (prefix_keys, prefix_values): (&Tensor, &Tensor),
        pass: &mut Pass<'_>,
    ) -> Tensor {
        let mut lora = |frozen, lora, name| {
            let (y, gate) = gated_lora(x, lora, &pass.gates);
            (pass.observe)(Observed::Gate(name, &gate.reshape(-1)));
            self.split_heads(&(linear(x, frozen) + y))
        };
        let queries = lora(&layer.query, &modules.query, "lora_query");
        let values = lora(&layer.value, &modules.value, "lora_value");
        let keys = self.split_heads(&linear(x, &layer.key));
        let gate = pass.gates.gate(x, &modules.prefix_gate);
        (pass.observe)(Observed::Gate("prefix", &gate.reshape(-1)));
        let gate = gate.unsqueeze(-1);
        let keys = Tensor::cat(&[prefix_keys * &gate, keys], 2);
        let values = Tensor::cat(&[prefix_values * &gate, values], 2);
        let scale = (self.config.head_dim() as f64).powf(-0.5);
        let scores = queries.matmul(&keys.transpose(-1, -2)) * scale + &pass.bias;
        let weights = Dropout::of(scores.softmax(-1, None::<Kind>), pass.dropout.attention);
        let mixed = weights.matmul(&values).transpose(1, 2).contiguous();
        linear(&mixed.view(x.size().as_slice()), &layer.attention_output)
    }

    /// The adapter follows the feed-forward layer, inside the residual connection. The layer's norm is applied twice.
    fn feed_forward(
        &self,
        layer: &Layer,
        modules: &PeltLayer<Tensor>,
        x: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Tensor {
        let inner = linear(x, &layer.intermediate).gelu("none");
        let sum = pass.dropout.hidden(linear(&inner, &layer.output)) + x;
        let h = self.norm(&sum, &layer.output_norm);
        let adapter = &modules.adapter;
        let gate = pass.gates.gate(&h, &adapter.gate);
        (pass.observe)(Observed::Gate("adapter", &gate.reshape(-1)));
        let update = linear(&linear(&h, &adapter.down).relu(), &adapter.up);
        self.norm(&(update * gate + sum), &layer.output_norm)
    }

    /// `[batch, len, hidden_size]` to `[batch, heads, len, head_dim]`.
    fn split_heads(&self, x: &Tensor) -> Tensor {
        let (heads, width) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        x.view([x.size()[0], x.size()[1], heads, width]).transpose(1, 2)
    }

    fn norm(&self, x: &Tensor, norm: &Linear<Tensor>) -> Tensor {
        let shape = norm.weight.size();
        x.layer_norm(shape, Some(&norm.weight), Some(&norm.bias), self.config.layer_norm_eps, true)
    }
}
