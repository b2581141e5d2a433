//! The weights of a task on a BERT, and what the layers need of them.

use hyperloader_core::method::unipelt_bert::UnipeltWeights;
use hyperloader_core::weights::task::{LayerNorm, Linear, TaskWeights};
use tch::Tensor;

use crate::model::adapter::{joined, layer_norm};
use crate::model::mode::Mode;

/// The weights of a task.
#[derive(Debug)]
pub struct BertTask {
    /// What the task adds to the layers.
    pub modules: TaskModules,
    /// From states to BIO tags, `[tags, hidden_size]`.
    pub classifier: Linear<Tensor>,
}

/// What a task adds to the layers of a BERT.
#[derive(Debug)]
pub enum TaskModules {
    /// Adapters and LoRA, whichever method made them (docs/reference/encoders.md#layer-with-task-weights).
    Ungated(TaskWeights<Tensor>),
    /// The gated modules of `unipelt-bert` (docs/reference/baselines.md#unipelt-on-bert).
    Gated {
        /// LoRA, prefix and adapter of every layer.
        weights: UnipeltWeights<Tensor>,
        /// Whether a gate is the mean over padding too.
        over_padding: bool,
    },
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

/// Is called with the intermediate values of a forward pass.
pub(super) type Observe<'a> = dyn FnMut(Observed<'_>) + 'a;

/// The input and the output of a sub-layer, both `[batch, source_len, hidden_size]`.
pub(super) struct SubLayer {
    pub(super) input: Tensor,
    /// Before dropout.
    pub(super) output: Tensor,
}

/// What a task adds to the layers, in one forward pass.
pub(super) trait LayerModules {
    /// Number of positions before the keys of every layer.
    fn prefix_len(&self) -> i64 {
        0
    }

    /// Keys and values before those of a layer with the input `x`, each `[batch, heads, prefix_len, head_dim]`.
    fn prefix(&self, _layer: usize, _x: &Tensor, _observe: &mut Observe<'_>) -> Option<[Tensor; 2]> {
        None
    }

    /// The queries of a layer with the input `x`, with the backbone's `map`.
    fn queries(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, observe: &mut Observe<'_>) -> Tensor;

    /// The values of a layer with the input `x`, with the backbone's `map`.
    fn values(&self, layer: usize, x: &Tensor, map: &Linear<Tensor>, observe: &mut Observe<'_>) -> Tensor;

    /// What follows attention: dropout as in `mode`, the residual sum and `norm`; here without an adapter.
    fn after_attention(&self, _layer: usize, done: SubLayer, norm: &LayerNorm<Tensor>, mode: Mode) -> Tensor {
        layer_norm(&joined(&done.input, done.output, None, mode), norm)
    }

    /// What follows the feed-forward layer: dropout as in `mode`, the residual sum and `norm`.
    fn after_feed_forward(
        &self,
        layer: usize,
        done: SubLayer,
        norm: &LayerNorm<Tensor>,
        mode: Mode,
        observe: &mut Observe<'_>,
    ) -> Tensor;
}
