//! What a method makes of a task: the weights that T5 runs with, generic over the tensor type.
//!
//! The trainer makes them with gradients, the exporter once with ndarray. T5 never hears of a method.

use crate::t5::{Attention, Stack};

/// All generated weights of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskWeights<T> {
    /// One entry for each block of the encoder.
    pub encoder: Vec<BlockWeights<T>>,
    /// One entry for each block of the decoder.
    pub decoder: Vec<BlockWeights<T>>,
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

/// A bottleneck behind a sub-layer's output y: `y + norm(up(activation(down(y))))` (reference section 1.4).
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
    /// On the bottleneck's output, before it is added to y.
    pub norm: Option<LayerNorm<T>>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluNew,
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
        Self { encoder: blocks(encoder_layers), decoder: blocks(decoder_layers) }
    }

    /// The blocks of a stack.
    pub fn blocks(&self, stack: Stack) -> &[BlockWeights<T>] {
        match stack {
            Stack::Encoder => &self.encoder,
            Stack::Decoder => &self.decoder,
        }
    }
}
