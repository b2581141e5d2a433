//! Hugging Face's names of BERT's tensors.

/// Word embedding, `[vocab_size, hidden_size]`.
pub const WORDS: &str = "bert.embeddings.word_embeddings.weight";
/// Position embedding, `[max_position_embeddings, hidden_size]`.
pub const POSITIONS: &str = "bert.embeddings.position_embeddings.weight";
/// Token-type embedding, `[type_vocab_size, hidden_size]`.
pub const TYPES: &str = "bert.embeddings.token_type_embeddings.weight";
/// LayerNorm after the embeddings, without `.weight` or `.bias`.
pub const EMBEDDING_NORM: &str = "bert.embeddings.LayerNorm";

/// Projection to the queries of a layer.
pub const QUERY: &str = "attention.self.query";
/// Projection to the keys of a layer.
pub const KEY: &str = "attention.self.key";
/// Projection to the values of a layer.
pub const VALUE: &str = "attention.self.value";
/// The attention of a layer with its residual connection and norm.
pub const ATTENTION: &str = "attention.output";
/// The feed-forward layer with its residual connection and norm.
pub const FEED_FORWARD: &str = "output";
/// Output projection of attention, after the heads are joined.
pub const ATTENTION_OUTPUT: &str = "attention.output.dense";
/// LayerNorm after attention.
pub const ATTENTION_NORM: &str = "attention.output.LayerNorm";
/// First linear map of the feed-forward layer.
pub const INTERMEDIATE: &str = "intermediate.dense";
/// Second linear map of the feed-forward layer.
pub const OUTPUT: &str = "output.dense";
/// LayerNorm after the feed-forward layer.
pub const OUTPUT_NORM: &str = "output.LayerNorm";

/// A part of a layer, without `.weight` or `.bias`.
pub fn layer(layer: usize, part: &str) -> String {
    format!("bert.encoder.layer.{layer}.{part}")
}
