//! T5's shape: Hugging Face's `config.json`, tensor names, and relative-position buckets (Raffel et al. 2020).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{FileError, read_text};

/// A configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a T5 configuration.
    #[error("`{}` is not a T5 `config.json`: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        reason: String,
    },
    /// A field holds a value that this program cannot run.
    #[error("field `{field}` of the T5 configuration is {value}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What can be run.
        expected: &'static str,
    },
    /// No such preset.
    #[error("unknown backbone preset `{name}`, expected one of {known}")]
    Preset {
        /// What was asked for.
        name: String,
        /// All presets.
        known: String,
    },
}

/// The two feed-forward forms of T5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForward {
    /// `wo(relu(wi x))`, T5 v1.0.
    #[serde(rename = "relu")]
    Relu,
    /// `wo(gelu_new(wi_0 x) * wi_1 x)`, T5 v1.1.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
}

/// One of T5's two stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// Reads the source.
    Encoder,
    /// Writes the target.
    Decoder,
}

impl Stack {
    /// Both, encoder first.
    pub const BOTH: [Stack; 2] = [Stack::Encoder, Stack::Decoder];
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stack::Encoder => "encoder",
            Stack::Decoder => "decoder",
        })
    }
}

/// T5's dimensions: the fields of Hugging Face's `config.json` that the computation depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct T5Config {
    /// Rows of the embedding, with padding rows (32,128 for T5's own vocabulary).
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Width of one attention head.
    pub d_kv: usize,
    /// Width of the feed-forward layer.
    pub d_ff: usize,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder; `num_layers` where absent.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Attention heads; `num_heads * d_kv` need not be `d_model`.
    pub num_heads: usize,
    /// Rows of a relative-attention table.
    #[serde(default = "default_buckets")]
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all positions share the last bucket.
    #[serde(default = "default_max_distance")]
    pub relative_attention_max_distance: usize,
    /// Epsilon of T5's RMS norms.
    #[serde(default = "default_epsilon")]
    pub layer_norm_epsilon: f64,
    /// Form of the feed-forward layer.
    #[serde(default = "default_feed_forward")]
    pub feed_forward_proj: FeedForward,
    /// Whether the head is the embedding; true where absent.
    #[serde(default = "default_true")]
    pub tie_word_embeddings: bool,
    /// Whether the decoder's output is scaled by `d_model^-0.5` before the head; as `tie_word_embeddings` where absent.
    /// transformers 5 writes it, and `tie_word_embeddings` as true even where the weights have a head of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// Dropout in training.
    #[serde(default = "default_dropout")]
    pub dropout_rate: f64,
    /// Padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// End of sequence.
    #[serde(default = "default_eos")]
    pub eos_token_id: i64,
    /// First input of the decoder.
    #[serde(default)]
    pub decoder_start_token_id: i64,
    /// Whether cross-attention has a relative bias of its own: transformers 3.5.1 had one, T5 has none
    /// (reference section 6). Not a field of Hugging Face's file.
    #[serde(default)]
    pub cross_attention_relative_bias: bool,
}

/// What kind of model a `config.json` describes: relatives such as mT5 share T5's fields but not their defaults.
#[derive(Deserialize)]
struct Family {
    #[serde(default)]
    model_type: Option<String>,
}

fn default_buckets() -> usize {
    32
}
fn default_max_distance() -> usize {
    128
}
fn default_epsilon() -> f64 {
    1e-6
}
fn default_feed_forward() -> FeedForward {
    FeedForward::Relu
}
fn default_true() -> bool {
    true
}
fn default_dropout() -> f64 {
    0.1
}
fn default_eos() -> i64 {
    1
}

/// Name and dimensions of the published checkpoints whose shape can be asked for by name.
const PRESETS: [(&str, [usize; 5]); 6] = [
    // d_model, d_kv, d_ff, layers, heads
    ("t5-nano", [128, 32, 512, 4, 4]),
    ("t5-small", [512, 64, 2048, 6, 8]),
    ("t5-base", [768, 64, 3072, 12, 12]),
    ("t5-large", [1024, 64, 4096, 24, 16]),
    ("t5-v1.1-small", [512, 64, 1024, 8, 6]),
    ("t5-v1.1-base", [768, 64, 2048, 12, 12]),
];

impl T5Config {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// If the file is missing, not a T5 configuration, or holds a value that cannot be run.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let format =
            |e: serde_json::Error| ConfigError::Format { path: path.to_owned(), reason: e.to_string() };
        let family: Family = serde_json::from_str(&text).map_err(format)?;
        if let Some(value) = family.model_type.filter(|family| family != "t5") {
            let value = format!("`{value}`");
            return Err(ConfigError::Value { field: "model_type", value, expected: "`t5`" });
        }
        let config: Self = serde_json::from_str(&text).map_err(format)?;
        config.validate()?;
        Ok(config)
    }

    /// The dimensions of a published checkpoint: `t5-small`, `t5-base`, ...
    ///
    /// # Errors
    /// If there is no preset of that name.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::Preset {
            name: name.to_owned(),
            known: PRESETS.map(|(n, _)| format!("`{n}`")).join(", "),
        };
        let (name, [d_model, d_kv, d_ff, num_layers, num_heads]) =
            PRESETS.into_iter().find(|(n, _)| *n == name).ok_or_else(unknown)?;
        let v11 = name.starts_with("t5-v1.1");
        Ok(Self {
            vocab_size: 32_128,
            d_model,
            d_kv,
            d_ff,
            num_layers,
            num_decoder_layers: None,
            num_heads,
            relative_attention_num_buckets: default_buckets(),
            relative_attention_max_distance: default_max_distance(),
            layer_norm_epsilon: default_epsilon(),
            feed_forward_proj: if v11 { FeedForward::GatedGelu } else { FeedForward::Relu },
            tie_word_embeddings: !v11,
            scale_decoder_outputs: None,
            dropout_rate: default_dropout(),
            pad_token_id: 0,
            eos_token_id: 1,
            decoder_start_token_id: 0,
            cross_attention_relative_bias: false,
        })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.layers(Stack::Decoder)),
            ("num_heads", self.num_heads),
        ];
        for (field, value) in positive {
            if value == 0 || value > 1 << 24 {
                return Err(ConfigError::Value {
                    field,
                    value: value.to_string(),
                    expected: "a number from 1 to 16777216",
                });
            }
        }
        let buckets = self.relative_attention_num_buckets;
        if buckets < 4 || !buckets.is_multiple_of(4) {
            return Err(ConfigError::Value {
                field: "relative_attention_num_buckets",
                value: buckets.to_string(),
                expected: "a multiple of 4",
            });
        }
        if self.relative_attention_max_distance <= buckets / 2 {
            return Err(ConfigError::Value {
                field: "relative_attention_max_distance",
                value: self.relative_attention_max_distance.to_string(),
                expected: "more than half of `relative_attention_num_buckets`",
            });
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return Err(ConfigError::Value {
                field: "layer_norm_epsilon",
                value: self.layer_norm_epsilon.to_string(),
                expected: "a number between 0 and 1",
            });
        }
        for (field, id) in [
            ("pad_token_id", self.pad_token_id),
            ("eos_token_id", self.eos_token_id),
            ("decoder_start_token_id", self.decoder_start_token_id),
        ] {
            if usize::try_from(id).map_or(true, |id| id >= self.vocab_size) {
                return Err(ConfigError::Value {
                    field,
                    value: id.to_string(),
                    expected: "an id inside the vocabulary",
                });
            }
        }
        Ok(())
    }

    /// Blocks of a stack.
    pub fn layers(&self, stack: Stack) -> usize {
        match stack {
            Stack::Encoder => self.num_layers,
            Stack::Decoder => self.num_decoder_layers.unwrap_or(self.num_layers),
        }
    }

    /// Width of all heads together, `num_heads * d_kv`.
    pub fn inner_dim(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// Factor on the decoder's output before the head: `d_model^-0.5` in v1.0, 1 in v1.1.
    pub fn head_scale(&self) -> f64 {
        let scaled = self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings);
        if scaled { (self.d_model as f64).powf(-0.5) } else { 1.0 }
    }

    /// Name of the matrix of the head.
    pub fn head_name(&self) -> &'static str {
        if self.tie_word_embeddings { names::SHARED } else { names::LM_HEAD }
    }

    /// Name and shape of every tensor of a checkpoint, Hugging Face's names, linear weights `[out, in]`.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, ff, inner) = (self.d_model, self.d_ff, self.inner_dim());
        let table = vec![self.relative_attention_num_buckets, self.num_heads];
        let mut all = BTreeMap::from([(names::SHARED.to_owned(), vec![self.vocab_size, d])]);
        if !self.tie_word_embeddings {
            all.insert(names::LM_HEAD.to_owned(), vec![self.vocab_size, d]);
        }
        for stack in Stack::BOTH {
            for block in 0..self.layers(stack) {
                for kind in Attention::of(stack) {
                    for part in ["q", "k", "v"] {
                        all.insert(names::attention(stack, block, *kind, part), vec![inner, d]);
                    }
                    all.insert(names::attention(stack, block, *kind, "o"), vec![d, inner]);
                    all.insert(names::attention_norm(stack, block, *kind), vec![d]);
                }
                match self.feed_forward_proj {
                    FeedForward::Relu => {
                        all.insert(names::feed_forward(stack, block, "wi"), vec![ff, d]);
                    }
                    FeedForward::GatedGelu => {
                        all.insert(names::feed_forward(stack, block, "wi_0"), vec![ff, d]);
                        all.insert(names::feed_forward(stack, block, "wi_1"), vec![ff, d]);
                    }
                }
                all.insert(names::feed_forward(stack, block, "wo"), vec![d, ff]);
                all.insert(names::feed_forward_norm(stack, block), vec![d]);
            }
            all.insert(names::relative_bias(stack, Attention::SelfAttention), table.clone());
            all.insert(names::final_norm(stack), vec![d]);
        }
        if self.cross_attention_relative_bias {
            all.insert(names::relative_bias(Stack::Decoder, Attention::CrossAttention), table);
        }
        all
    }

    /// Names of all RMS-norm scales, which HyperLoader trains directly (reference section 1.5).
    pub fn norms(&self) -> Vec<String> {
        self.tensors().into_keys().filter(|n| n.ends_with("layer_norm.weight")).collect()
    }

    /// [`relative_position_bucket`] with this configuration's buckets and maximal distance.
    pub fn bucket(&self, relative_position: i64, bidirectional: bool) -> usize {
        relative_position_bucket(
            relative_position,
            bidirectional,
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        )
    }
}

/// The two kinds of attention of a T5 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// Over the stack's own states.
    SelfAttention,
    /// Of the decoder over the encoder's output.
    CrossAttention,
}

impl Attention {
    /// The kinds that a block of `stack` has, in order.
    pub fn of(stack: Stack) -> &'static [Attention] {
        match stack {
            Stack::Encoder => &[Attention::SelfAttention],
            Stack::Decoder => &[Attention::SelfAttention, Attention::CrossAttention],
        }
    }
}

/// The bucket of `relative_position` = key index - query index (Raffel et al. 2020, section 2.1; numbers checked
/// against `golden/hyperloader/position_buckets.json`). Half of the buckets are exact, half logarithmic.
pub fn relative_position_bucket(
    relative_position: i64,
    bidirectional: bool,
    num_buckets: usize,
    max_distance: usize,
) -> usize {
    let (offset, buckets, distance) = if bidirectional {
        let half = num_buckets / 2;
        let offset = if relative_position > 0 { half } else { 0 };
        (offset, half, relative_position.unsigned_abs() as usize)
    } else {
        (0, num_buckets, usize::try_from(-relative_position).unwrap_or(0))
    };
    let exact = buckets / 2;
    if distance < exact {
        return offset + distance;
    }
    // In float32 like the reference, so that a boundary is rounded to the same side.
    let span = (max_distance as f64 / exact as f64).ln() as f32;
    let ratio = (distance as f32 / exact as f32).ln() / span;
    let logarithmic = exact + (ratio * (buckets - exact) as f32) as usize;
    offset + logarithmic.min(buckets - 1)
}

/// Hugging Face's tensor names.
pub mod names {
    use super::{Attention, Stack};

    /// The embedding, shared by both stacks and, when tied, by the head.
    pub const SHARED: &str = "shared.weight";
    /// An untied head.
    pub const LM_HEAD: &str = "lm_head.weight";
    /// Copies of the embedding that some checkpoints store besides `shared.weight`, or in its place.
    pub const EMBEDDING_COPIES: [&str; 2] = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

    fn layer(kind: Attention) -> (usize, &'static str) {
        match kind {
            Attention::SelfAttention => (0, "SelfAttention"),
            Attention::CrossAttention => (1, "EncDecAttention"),
        }
    }

    fn feed_forward_layer(stack: Stack) -> usize {
        match stack {
            Stack::Encoder => 1,
            Stack::Decoder => 2,
        }
    }

    /// `q`, `k` or `v` `[inner, d_model]`, or `o` `[d_model, inner]`, of an attention.
    pub fn attention(stack: Stack, block: usize, kind: Attention, part: &str) -> String {
        let (index, name) = layer(kind);
        format!("{stack}.block.{block}.layer.{index}.{name}.{part}.weight")
    }

    /// The RMS norm in front of an attention, `[d_model]`.
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

    /// The RMS norm in front of the feed-forward layer, `[d_model]`.
    pub fn feed_forward_norm(stack: Stack, block: usize) -> String {
        format!("{stack}.block.{block}.layer.{}.layer_norm.weight", feed_forward_layer(stack))
    }

    /// The RMS norm after the last block, `[d_model]`.
    pub fn final_norm(stack: Stack) -> String {
        format!("{stack}.final_layer_norm.weight")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(config: &T5Config) -> usize {
        config.tensors().values().map(|s| s.iter().product::<usize>()).sum()
    }

    #[test]
    fn published_checkpoints_have_their_published_sizes() {
        let base = T5Config::preset("t5-base").unwrap();
        assert_eq!(parameters(&base), 222_903_552);
        let with_bias = T5Config { cross_attention_relative_bias: true, ..base };
        assert_eq!(parameters(&with_bias), 222_903_936);
        assert_eq!(with_bias.norms().len(), 62);
        let small = T5Config::preset("t5-small").unwrap();
        assert_eq!(parameters(&small), 60_506_880 - 256);
    }

    #[test]
    fn configurations_of_every_transformers_version_give_the_head_that_they_mean() {
        let read = |fields: &str| {
            let text = format!(
                r#"{{"vocab_size": 8, "d_model": 4, "d_kv": 2, "d_ff": 8, "num_layers": 1, "num_heads": 2 {fields}}}"#
            );
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.json");
            std::fs::write(&path, text).unwrap();
            T5Config::from_file(&path).map_err(|e| e.to_string())
        };
        for (fields, tied, scale) in [
            ("", true, 0.5),
            (r#", "tie_word_embeddings": false"#, false, 1.0),
            (r#", "tie_word_embeddings": true, "scale_decoder_outputs": false"#, true, 1.0),
            (r#", "tie_word_embeddings": true, "scale_decoder_outputs": true"#, true, 0.5),
        ] {
            let config = read(fields).unwrap();
            assert_eq!((config.tie_word_embeddings, config.head_scale()), (tied, scale), "{fields}");
        }
        let gated = read(r#", "feed_forward_proj": "gated-gelu", "model_type": "t5""#).unwrap();
        assert_eq!(gated.feed_forward_proj, FeedForward::GatedGelu);
        insta::assert_snapshot!(read(r#", "model_type": "mt5""#).unwrap_err(), @"field `model_type` of the T5 configuration is `mt5`, expected `t5`");
        assert!(
            read(r#", "feed_forward_proj": "gated-silu""#)
                .unwrap_err()
                .contains("unknown variant `gated-silu`")
        );
    }

    #[test]
    fn an_unknown_preset_lists_the_known_ones() {
        let message = T5Config::preset("t5-bass").unwrap_err().to_string();
        assert!(message.contains("`t5-bass`") && message.contains("`t5-base`"), "{message}");
    }

    #[test]
    fn all_distances_from_the_maximum_on_share_one_bucket() {
        for (bidirectional, buckets, max) in [(true, 32, 128), (false, 32, 128), (true, 16, 20)] {
            for beyond in [max, max + 1, 10 * max] {
                for sign in [-1, 1] {
                    let bucket =
                        |d: usize| relative_position_bucket(sign * d as i64, bidirectional, buckets, max);
                    assert_eq!(bucket(beyond), bucket(max));
                }
            }
        }
    }
}
