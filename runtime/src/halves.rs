//! The two graphs that a tagger is run as, for programs that run them by other means.

use hyperloader_onnx::proto::ModelProto;

/// The graph of an encoder-decoder, split as the tagger itself splits it: the encoder runs once for each source, the decoder
/// several times, with its keys and values of earlier passes as inputs (docs/browser.md#the-folder).
///
/// Large weights are references to the file, if it was mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Halves {
    /// From `input_ids` and `attention_mask` to [`Halves::memory`] and, with a drafter, `draft_tags`.
    pub encoder: ModelProto,
    /// From `decoder_input_ids`, `attention_mask`, `query_positions`, `key_positions`, `wanted`, [`Halves::memory`] and the inputs
    /// of [`Halves::past`] to `next_ids` `[wanted, 1]`, `next_logits` and `next_log_probabilities` `[wanted, 1, 1]`,
    /// `some_logits` `[wanted, 1, scored_ids]`, and the outputs of [`Halves::past`].
    pub decoder: ModelProto,
    /// Names of the encoder's outputs that the decoder reads.
    pub memory: Vec<String>,
    /// Names of the decoder's inputs for keys and values of earlier passes, `[batch, heads, past_len, d_kv]`, and of the
    /// outputs that have those of this pass added, `[batch, heads, past_len + target_len, d_kv]`.
    pub past: Vec<[String; 2]>,
    /// Heads of the decoder's self-attention.
    pub heads: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Ids whose logits `some_logits` has, ascending.
    pub scored_ids: Vec<u32>,
    /// The last dimension of `logits`.
    pub vocab_size: usize,
}
