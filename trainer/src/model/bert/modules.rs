//! The modules of UniPELT in a BERT: gates, gated LoRA and prefixes (docs/reference/baselines.md#unipelt-on-bert).

use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::{GatedLora, Prefix};
use hyperloader_core::weights::task::Linear;
use tch::{Kind, Tensor};

use crate::linear::product;

/// The mean over the tokens of a source, which a gate is.
pub(super) struct GateMean {
    /// The weight of each position in the mean, `[batch, source_len, 1]`.
    shares: Tensor,
}

impl GateMean {
    /// A mean over the tokens of `mask` `[batch, source_len]`; over padding too if `over_padding`.
    pub(super) fn new(mask: &Tensor, over_padding: bool) -> Self {
        let counted = if over_padding { mask.ones_like() } else { mask.shallow_clone() };
        // A row without tokens must not divide by 0.
        let count = counted.sum_dim_intlist([1_i64].as_slice(), true, None::<Kind>).clamp_min(1.0);
        Self { shares: (counted / count).unsqueeze(-1) }
    }

    /// The mean of `sigmoid(w x + b)`, `[batch, 1, 1]`.
    pub(super) fn gate(&self, x: &Tensor, gate: &Linear<Tensor>) -> Tensor {
        let open = linear(x, gate).sigmoid() * &self.shares;
        open.sum_dim_intlist([1_i64].as_slice(), true, None::<Kind>)
    }
}

/// `g * (x A^T) B^T`, and the gate g `[batch, 1, 1]`.
pub(super) fn gated_lora(x: &Tensor, lora: &GatedLora<Tensor>, gates: &GateMean) -> (Tensor, Tensor) {
    let gate = gates.gate(x, &lora.gate);
    let none = None::<&Tensor>;
    (x.linear(&lora.a, none).linear(&lora.b, none) * &gate, gate)
}

/// Keys and values that precede those of each layer, each `[1, heads, prefix_len, head_dim]`.
pub(super) struct Prefixes {
    pub(super) layers: Vec<(Tensor, Tensor)>,
    pub(super) len: i64,
}

/// Computes the prefixes of all layers from the trainable tensors.
pub(super) fn prefixes(prefix: &Prefix<Tensor>, config: &BertConfig) -> Prefixes {
    let flat = match prefix {
        Prefix::Flat(flat) => flat.shallow_clone(),
        Prefix::Made { embedding, inner, outer } => linear(&linear(embedding, inner).tanh(), outer),
    };
    let len = flat.size()[0];
    let (layers, heads, width) =
        (config.num_hidden_layers as i64, config.num_attention_heads as i64, config.head_dim() as i64);
    let parts = flat.view([len, 2 * layers, heads, width]).permute([1, 2, 0, 3]).unsqueeze(1);
    let layers = (0..layers).map(|i| (parts.get(2 * i), parts.get(2 * i + 1))).collect();
    Prefixes { layers, len }
}

/// `x W^T + b`. The product is computed in the precision of the weight.
pub(super) fn linear(x: &Tensor, map: &Linear<Tensor>) -> Tensor {
    if map.weight.kind() == x.kind() {
        return x.linear(&map.weight, Some(&map.bias));
    }
    product(x, &map.weight) + &map.bias
}
