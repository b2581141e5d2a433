//! The weights that a method makes for a task and that a backbone runs with, generic over the tensor type.
//!
//! The trainer makes them with gradients, the exporter once with ndarray. A backbone does not depend on the method that
//! made them.

use serde::{Deserialize, Serialize};

use crate::weights::site::{Attention, Site, Stack};

/// All generated weights of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskWeights<T> {
    /// One entry for each block of the encoder.
    pub encoder: Vec<BlockWeights<T>>,
    /// One entry for each block of the decoder.
    pub decoder: Vec<BlockWeights<T>>,
    /// Makes more adapters of the decoder from each input.
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
    /// Non-linearity between the two maps.
    pub activation: Activation,
    /// On the bottleneck's output.
    pub norm: Option<LayerNorm<T>>,
    /// What it reads and where its output is added.
    pub placement: Placement,
}

/// Where an adapter A stands at a sub-layer with the input x and the output y. The sub-layer normalizes its input itself.
/// Without dropout the first two are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// `x + dropout(y + A(y))`: HyperLoader and HyperFormer (docs/reference/hyperloader.md#t5-block-with-task-weights).
    BeforeDropout,
    /// `x + z + A(z)` with `z = dropout(y)`: AdapterHub's (docs/reference/baselines.md#adapters).
    AfterDropout,
    /// `x + dropout(y) + A(x)`: Hyperdecoder (docs/reference/baselines.md#hyperdecoder).
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

/// Makes the adapters beside the decoder's feed-forward layers from each input (Ivison and Peters 2022;
/// docs/reference/baselines.md#hyperdecoder). With the mean e of the encoder's output over an input's tokens and `e' = fc2(relu(fc1(e)))`, block l gets
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

/// Non-linearity of an adapter or of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluNew,
    /// `x (1 + erf(x / sqrt(2))) / 2`.
    Gelu,
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

    /// The LoRA pair of a site, if there is one.
    pub fn lora(&self, site: Site) -> Option<&Lora<T>> {
        match site {
            Site::LoraSelfQ => self.self_attention.q.as_ref(),
            Site::LoraSelfV => self.self_attention.v.as_ref(),
            Site::LoraCrossQ => self.cross_attention.q.as_ref(),
            Site::LoraCrossV => self.cross_attention.v.as_ref(),
            Site::FeedForwardAdapter | Site::SelfAttentionAdapter => None,
        }
    }

    /// The adapter of a site, if there is one.
    pub fn adapter(&self, site: Site) -> Option<&Adapter<T>> {
        match site {
            Site::FeedForwardAdapter => self.feed_forward_adapter.as_ref(),
            Site::SelfAttentionAdapter => self.self_attention_adapter.as_ref(),
            Site::LoraSelfQ | Site::LoraSelfV | Site::LoraCrossQ | Site::LoraCrossV => None,
        }
    }

    /// The LoRA pair of a site, to be set; `None` if the site is not one of LoRA.
    pub fn lora_mut(&mut self, site: Site) -> Option<&mut Option<Lora<T>>> {
        match site {
            Site::LoraSelfQ => Some(&mut self.self_attention.q),
            Site::LoraSelfV => Some(&mut self.self_attention.v),
            Site::LoraCrossQ => Some(&mut self.cross_attention.q),
            Site::LoraCrossV => Some(&mut self.cross_attention.v),
            Site::FeedForwardAdapter | Site::SelfAttentionAdapter => None,
        }
    }

    /// The adapter of a site, to be set; `None` if the site is not one of adapters.
    pub fn adapter_mut(&mut self, site: Site) -> Option<&mut Option<Adapter<T>>> {
        match site {
            Site::FeedForwardAdapter => Some(&mut self.feed_forward_adapter),
            Site::SelfAttentionAdapter => Some(&mut self.self_attention_adapter),
            Site::LoraSelfQ | Site::LoraSelfV | Site::LoraCrossQ | Site::LoraCrossV => None,
        }
    }

    /// The LoRA pairs of a kind of attention, to be set.
    pub fn attention_mut(&mut self, kind: Attention) -> &mut AttentionWeights<T> {
        match kind {
            Attention::SelfAttention => &mut self.self_attention,
            Attention::CrossAttention => &mut self.cross_attention,
        }
    }
}

impl<T> TaskWeights<T> {
    /// No weights of a task at all: the backbone as it was trained.
    pub fn none(encoder_layers: usize, decoder_layers: usize) -> Self {
        let blocks = |n| std::iter::repeat_with(BlockWeights::default).take(n).collect();
        Self { encoder: blocks(encoder_layers), decoder: blocks(decoder_layers), generator: None }
    }

    /// The blocks of a stack, to be set.
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
