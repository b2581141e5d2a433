//! The modules of UniPELT in a BERT: gates, gated LoRA, prefixes and adapters (docs/reference/baselines.md#unipelt-on-bert).

use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::{GatedLora, Prefix, UnipeltWeights};
use hyperloader_core::weights::task::{LayerNorm, Linear};
use tch::{Kind, Tensor};

use super::modules::{LayerModules, Observe, Observed, SubLayer};
use crate::linear::affine;
use crate::model::adapter::layer_norm;
use crate::model::mode::Mode;

/// The modules of all layers in one pass.
pub(super) struct Gated<'a> {
    weights: &'a UnipeltWeights<Tensor>,
    prefixes: Prefixes,
    gates: GateMean,
}

impl<'a> Gated<'a> {
    /// The modules for sources with this `mask` `[batch, source_len]`; gates count padding too if `over_padding`.
    pub(super) fn new(
        weights: &'a UnipeltWeights<Tensor>,
        config: &BertConfig,
        mask: &Tensor,
        over_padding: bool,
    ) -> Self {
        let prefixes = prefixes(&weights.prefix, config);
        Self { weights, prefixes, gates: GateMean::new(mask, over_padding) }
    }

    /// `W x + b + g * (x A^T) B^T`.
    fn with_lora(
        &self,
        (lora, name): (&GatedLora<Tensor>, &'static str),
        x: &Tensor,
        map: &Linear<Tensor>,
        observe: &mut Observe<'_>,
    ) -> Tensor {
        let gate = self.gates.gate(x, &lora.gate);
        observe(Observed::Gate(name, &gate.reshape(-1)));
        let none = None::<&Tensor>;
        let update = x.linear(&lora.a, none).linear(&lora.b, none) * &gate;
        affine(x, map) + update
    }
}

impl LayerModules for Gated<'_> {
    fn prefix_len(&self) -> i64 {
        self.prefixes.len
    }

    fn prefix(&self, layer: usize, x: &Tensor, observe: &mut Observe<'_>) -> Option<[Tensor; 2]> {
        let (keys, values) = &self.prefixes.layers[layer];
        observe(Observed::Prefix(keys, values));
        let gate = self.gates.gate(x, &self.weights.layers[layer].prefix_gate);
        observe(Observed::Gate("prefix", &gate.reshape(-1)));
        let gate = gate.unsqueeze(-1);
        Some([keys * &gate, values * &gate])
    }

    fn queries(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, observe: &mut Observe<'_>) -> Tensor {
        self.with_lora((&self.weights.layers[layer].query, "lora_query"), x, map, observe)
    }

    fn values(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, observe: &mut Observe<'_>) -> Tensor {
        self.with_lora((&self.weights.layers[layer].value, "lora_value"), x, map, observe)
    }

    /// The adapter follows the feed-forward layer, inside the residual connection. The layer's norm is applied twice.
    fn after_feed_forward(
        &self,
        layer: usize,
        SubLayer { input, output }: SubLayer,
        norm: &LayerNorm<Tensor>,
        mode: Mode,
        observe: &mut Observe<'_>,
    ) -> Tensor {
        let adapter = &self.weights.layers[layer].adapter;
        let sum = mode.dropout(output) + input;
        let h = layer_norm(&sum, norm);
        let gate = self.gates.gate(&h, &adapter.gate);
        observe(Observed::Gate("adapter", &gate.reshape(-1)));
        let update = affine(&affine(&h, &adapter.down).relu(), &adapter.up);
        layer_norm(&(update * gate + sum), norm)
    }
}

/// The mean over the tokens of a source, which a gate is.
struct GateMean {
    /// The weight of each position in the mean, `[batch, source_len, 1]`.
    shares: Tensor,
}

impl GateMean {
    /// A mean over the tokens of `mask` `[batch, source_len]`; over padding too if `over_padding`.
    fn new(mask: &Tensor, over_padding: bool) -> Self {
        let counted = if over_padding { mask.ones_like() } else { mask.shallow_clone() };
        // A row without tokens must not divide by 0.
        let count = counted.sum_dim_intlist([1_i64].as_slice(), true, None::<Kind>).clamp_min(1.0);
        Self { shares: (counted / count).unsqueeze(-1) }
    }

    /// The mean of `sigmoid(w x + b)`, `[batch, 1, 1]`.
    fn gate(&self, x: &Tensor, gate: &Linear<Tensor>) -> Tensor {
        let open = affine(x, gate).sigmoid() * &self.shares;
        open.sum_dim_intlist([1_i64].as_slice(), true, None::<Kind>)
    }
}

/// Keys and values that precede those of each layer, each `[1, heads, prefix_len, head_dim]`.
struct Prefixes {
    layers: Vec<(Tensor, Tensor)>,
    len: i64,
}

/// Computes the prefixes of all layers from the trainable tensors.
fn prefixes(prefix: &Prefix<Tensor>, config: &BertConfig) -> Prefixes {
    let flat = match prefix {
        Prefix::Flat(flat) => flat.shallow_clone(),
        Prefix::Made { embedding, inner, outer } => affine(&affine(embedding, inner).tanh(), outer),
    };
    let len = flat.size()[0];
    let (layers, heads, width) =
        (config.num_hidden_layers as i64, config.num_attention_heads as i64, config.head_dim() as i64);
    let parts = flat.view([len, 2 * layers, heads, width]).permute([1, 2, 0, 3]).unsqueeze(1);
    let layers = (0..layers).map(|i| (parts.get(2 * i), parts.get(2 * i + 1))).collect();
    Prefixes { layers, len }
}
