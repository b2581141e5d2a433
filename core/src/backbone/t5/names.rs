//! Hugging Face's names of T5's tensors.

use crate::weights::site::{Attention, Stack};

/// The embedding, shared by both stacks and, when tied, by the output layer.
pub const SHARED: &str = "shared.weight";
/// An output layer that is not tied to the embedding.
pub const LM_HEAD: &str = "lm_head.weight";
/// Copies of the embedding that some checkpoints store besides `shared.weight`, or in its place.
pub const EMBEDDING_COPIES: [&str; 2] = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// Number and name of the sub-layer of an attention.
fn layer(kind: Attention) -> (usize, &'static str) {
    match kind {
        Attention::SelfAttention => (0, "SelfAttention"),
        Attention::CrossAttention => (1, "EncDecAttention"),
    }
}

/// Number of the feed-forward sub-layer of a block.
pub fn feed_forward_layer(stack: Stack) -> usize {
    match stack {
        Stack::Encoder => 1,
        Stack::Decoder => 2,
    }
}

/// A sub-layer of a block: `layer` 0 is self-attention, the last is the feed-forward layer.
pub fn sub_layer(stack: Stack, block: usize, layer: usize) -> String {
    format!("{stack}.block.{block}.layer.{layer}")
}

/// A projection `q`, `k`, `v` or `o` of an attention, without `.weight`.
pub fn projection(stack: Stack, block: usize, kind: Attention, part: &str) -> String {
    let (index, name) = layer(kind);
    format!("{}.{name}.{part}", sub_layer(stack, block, index))
}

/// `q`, `k` or `v` `[inner, d_model]`, or `o` `[d_model, inner]`, of an attention.
pub fn attention(stack: Stack, block: usize, kind: Attention, part: &str) -> String {
    format!("{}.weight", projection(stack, block, kind, part))
}

/// The RMS norm before an attention, `[d_model]`.
pub fn attention_norm(stack: Stack, block: usize, kind: Attention) -> String {
    format!("{stack}.block.{block}.layer.{}.layer_norm.weight", layer(kind).0)
}

/// The relative-position table of a kind of attention, `[buckets, heads]`; it lies in block 0.
pub fn relative_bias(stack: Stack, kind: Attention) -> String {
    attention(stack, 0, kind, "relative_attention_bias")
}

/// `wi`, `wi_0`, `wi_1` `[d_ff, d_model]` or `wo` `[d_model, d_ff]`.
pub fn feed_forward(stack: Stack, block: usize, part: &str) -> String {
    let index = feed_forward_layer(stack);
    format!("{stack}.block.{block}.layer.{index}.DenseReluDense.{part}.weight")
}

/// The RMS norm before the feed-forward layer, `[d_model]`.
pub fn feed_forward_norm(stack: Stack, block: usize) -> String {
    format!("{stack}.block.{block}.layer.{}.layer_norm.weight", feed_forward_layer(stack))
}

/// The RMS norm after the last block, `[d_model]`.
pub fn final_norm(stack: Stack) -> String {
    format!("{stack}.final_layer_norm.weight")
}
