//! Adapters and LoRA in a BERT (docs/reference/encoders.md#layer-with-task-weights).

use hyperloader_core::weights::task::{BlockWeights, LayerNorm, Linear};
use tch::Tensor;

use super::modules::{LayerModules, Observe, SubLayer};
use crate::linear::{affine, with_lora};
use crate::model::adapter::{joined, layer_norm};
use crate::model::mode::Mode;

/// The weights of each layer.
pub(super) struct Ungated<'a> {
    pub(super) layers: &'a [BlockWeights<Tensor>],
}

impl LayerModules for Ungated<'_> {
    fn queries(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, _: &mut Observe<'_>) -> Tensor {
        with_lora(affine(x, map), x, self.layers[layer].self_attention.q.as_ref())
    }

    fn values(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, _: &mut Observe<'_>) -> Tensor {
        with_lora(affine(x, map), x, self.layers[layer].self_attention.v.as_ref())
    }

    fn after_attention(
        &self,
        layer: usize,
        SubLayer { input, output }: SubLayer,
        norm: &LayerNorm<Tensor>,
        mode: Mode,
    ) -> Tensor {
        let adapter = self.layers[layer].self_attention_adapter.as_ref();
        layer_norm(&joined(&input, output, adapter, mode), norm)
    }

    fn after_feed_forward(
        &self,
        layer: usize,
        SubLayer { input, output }: SubLayer,
        norm: &LayerNorm<Tensor>,
        mode: Mode,
        _: &mut Observe<'_>,
    ) -> Tensor {
        let adapter = self.layers[layer].feed_forward_adapter.as_ref();
        layer_norm(&joined(&input, output, adapter, mode), norm)
    }
}
