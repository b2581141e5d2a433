//! What a method makes of a task: the weights that T5 runs with, generic over the tensor type.
//!
//! The trainer makes them with gradients, the exporter once with ndarray. T5 never hears of a method.

use serde::{Deserialize, Serialize};

use crate::backbone::t5::{Attention, Stack};

/// All generated weights of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskWeights<T> {
    /// One entry for each block of the encoder.
    pub encoder: Vec<BlockWeights<T>>,
    /// One entry for each block of the decoder.
    pub decoder: Vec<BlockWeights<T>>,
    /// What makes more adapters of the decoder from each input.
    pub generator: Option<Generator<T>>,
}

/// Generated weights of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockWeights<T> {
    /// LoRA of self-attention.
    pub self_attention: AttentionWeights<T>,
    /// LoRA of cross-attention (decoder only).
    pub cross_attention: AttentionWeights<T>,
    /// Adapter after self-attention.
    pub self_attention_adapter: Option<Adapter<T>>,
    /// Adapter after the feed-forward layer.
    pub feed_forward_adapter: Option<Adapter<T>>,
}

/// Generated weights of one attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionWeights<T> {
    /// On the queries.
    pub q: Option<Lora<T>>,
    /// On the values.
    pub v: Option<Lora<T>>,
}

/// A low-rank update: `W x + scale * B (A x)` (Hu et al. 2022).
#[derive(Debug, Clone, PartialEq)]
pub struct Lora<T> {
    /// `[rank, d_model]`.
    pub a: T,
    /// `[inner_dim, rank]`.
    pub b: T,
    /// `alpha / rank`.
    pub scale: f64,
}

/// A bottleneck at a sub-layer: `norm(up(activation(down(..))))`, read and added where its placement says.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter<T> {
    /// `[bottleneck, d_model]`.
    pub down_weight: T,
    /// `[bottleneck]`.
    pub down_bias: T,
    /// `[d_model, bottleneck]`.
    pub up_weight: T,
    /// `[d_model]`.
    pub up_bias: T,
    /// Between the two.
    pub activation: Activation,
    /// On the bottleneck's output.
    pub norm: Option<LayerNorm<T>>,
    /// Where it stands.
    pub placement: Placement,
}

/// Where an adapter A stands at a sub-layer with the input x and the output y, which is behind a norm of its own.
/// Without dropout the first two are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// `x + dropout(y + A(y))`: HyperLoader and HyperFormer (reference section 1.4).
    BeforeDropout,
    /// `x + z + A(z)` with `z = dropout(y)`: AdapterHub's (reference section 5.2).
    AfterDropout,
    /// `x + dropout(y) + A(x)`: Hyperdecoder (reference section 5.5).
    Parallel,
}

/// A linear map, `W x + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear<T> {
    /// `[out, in]`.
    pub weight: T,
    /// `[out]`.
    pub bias: T,
}

/// Makes the adapters beside the decoder's feed-forward layers from each input (Ivison and Peters 2022; reference
/// section 5.5). With the mean e of the encoder's output over an input's tokens and `e' = fc2(relu(fc1(e)))`, block l gets
/// what the heads make of `relu(trunk e' + block_bias_l)`; the adapter's non-linearity is ReLU.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator<T> {
    /// `d_model` to `d_model`.
    pub fc1: Linear<T>,
    /// `d_model` to `d_model`.
    pub fc2: Linear<T>,
    /// `[width, d_model]`.
    pub trunk: T,
    /// One for each block of the decoder, `[width]`.
    pub block_biases: Vec<T>,
    /// `width` to the transposed down matrix `[d_model, bottleneck]`, row-major.
    pub down_weight: Linear<T>,
    /// `width` to `bottleneck`.
    pub down_bias: Linear<T>,
    /// `width` to the transposed up matrix `[bottleneck, d_model]`, row-major.
    pub up_weight: Linear<T>,
    /// `width` to `d_model`.
    pub up_bias: Linear<T>,
}

/// A LayerNorm over the last axis with biased variance.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm<T> {
    /// Scale, `[d_model]`.
    pub gamma: T,
    /// Shift, `[d_model]`.
    pub beta: T,
    /// Added to the variance.
    pub eps: f64,
}

/// Non-linearity of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluNew,
    /// `x sigmoid(x)`.
    Swish,
    /// `max(x, 0)`.
    Relu,
}

impl<T> Default for AttentionWeights<T> {
    fn default() -> Self {
        Self { q: None, v: None }
    }
}

impl<T> Default for BlockWeights<T> {
    fn default() -> Self {
        Self {
            self_attention: AttentionWeights::default(),
            cross_attention: AttentionWeights::default(),
            self_attention_adapter: None,
            feed_forward_adapter: None,
        }
    }
}

impl<T> BlockWeights<T> {
    /// The LoRA pairs of a kind of attention.
    pub fn attention(&self, kind: Attention) -> &AttentionWeights<T> {
        match kind {
            Attention::SelfAttention => &self.self_attention,
            Attention::CrossAttention => &self.cross_attention,
        }
    }

    /// The LoRA pairs of a kind of attention, to be filled.
    pub fn attention_mut(&mut self, kind: Attention) -> &mut AttentionWeights<T> {
        match kind {
            Attention::SelfAttention => &mut self.self_attention,
            Attention::CrossAttention => &mut self.cross_attention,
        }
    }
}

impl<T> TaskWeights<T> {
    /// No generated weights at all: T5 as it was trained.
    pub fn none(encoder_layers: usize, decoder_layers: usize) -> Self {
        let blocks = |n| std::iter::repeat_with(BlockWeights::default).take(n).collect();
        Self { encoder: blocks(encoder_layers), decoder: blocks(decoder_layers), generator: None }
    }

    /// The blocks of a stack, to be filled.
    pub fn blocks_mut(&mut self, stack: Stack) -> &mut [BlockWeights<T>] {
        match stack {
            Stack::Encoder => &mut self.encoder,
            Stack::Decoder => &mut self.decoder,
        }
    }

    /// The blocks of a stack.
    pub fn blocks(&self, stack: Stack) -> &[BlockWeights<T>] {
        match stack {
            Stack::Encoder => &self.encoder,
            Stack::Decoder => &self.decoder,
        }
    }
}
