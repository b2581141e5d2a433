//! T5's dimensions: the fields of Hugging Face's `config.json` that the computation depends on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::buckets::relative_position_bucket;
use super::feed_forward::{self, FeedForward};
use super::names;
use crate::backbone::error::ConfigError;
use crate::backbone::fields::{FieldType, Fields};
use crate::backbone::kind::BackboneKind;
use crate::backbone::limits;
use crate::weights::site::Stack;

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
    /// Number of encoder blocks.
    pub num_layers: usize,
    /// Number of decoder blocks; `num_layers` if absent.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Attention heads; `num_heads * d_kv` need not be `d_model`.
    pub num_heads: usize,
    /// Number of relative-position buckets: rows of the bias table `[buckets, heads]`.
    #[serde(default = "default_buckets")]
    pub relative_attention_num_buckets: usize,
    /// Distance in tokens from which on all positions share the last bucket.
    #[serde(default = "default_max_distance")]
    pub relative_attention_max_distance: usize,
    /// Added to the mean square in T5's RMS norms.
    #[serde(default = "default_epsilon")]
    pub layer_norm_epsilon: f64,
    /// Form of the feed-forward layer.
    #[serde(default = "default_feed_forward")]
    pub feed_forward_proj: FeedForward,
    /// Whether the output layer is the embedding; true if absent.
    #[serde(default = "default_true")]
    pub tie_word_embeddings: bool,
    /// Whether the decoder's output is scaled by `d_model^-0.5` before the output layer; as `tie_word_embeddings` if
    /// absent. transformers 5 writes it, and `tie_word_embeddings` as true even if the weights have an output layer of
    /// their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// Dropout rate in training, from 0 to 1.
    #[serde(default = "default_dropout")]
    pub dropout_rate: f64,
    /// Id of the padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// Id of the end of a sequence.
    #[serde(default = "default_eos")]
    pub eos_token_id: i64,
    /// Id of the decoder's first input; in `config.json` that of padding if absent.
    #[serde(default)]
    pub decoder_start_token_id: i64,
    /// Whether cross-attention has a relative bias of its own: transformers 3.5.1 had one, T5 has none
    /// (docs/reference/backbones.md#cross-attention-bias). Not a field of Hugging Face's file.
    #[serde(default)]
    pub cross_attention_relative_bias: bool,
}

/// The fields that are read. `model_type` tells T5 from relatives such as mT5, which share its fields but not their
/// defaults.
const FIELDS: [(&str, FieldType); 21] = [
    ("model_type", FieldType::Text),
    ("vocab_size", FieldType::Size),
    ("d_model", FieldType::Size),
    ("d_kv", FieldType::Size),
    ("d_ff", FieldType::Size),
    ("num_layers", FieldType::Size),
    ("num_decoder_layers", FieldType::Size),
    ("num_heads", FieldType::Size),
    ("relative_attention_num_buckets", FieldType::Size),
    ("relative_attention_max_distance", FieldType::Size),
    ("layer_norm_epsilon", FieldType::Number),
    (feed_forward::PROJECTION, FieldType::Text),
    (feed_forward::ACTIVATION, FieldType::Text),
    (feed_forward::GATED, FieldType::Flag),
    ("tie_word_embeddings", FieldType::Flag),
    ("scale_decoder_outputs", FieldType::Flag),
    ("dropout_rate", FieldType::Number),
    ("pad_token_id", FieldType::Id),
    ("eos_token_id", FieldType::Id),
    ("decoder_start_token_id", FieldType::Id),
    ("cross_attention_relative_bias", FieldType::Flag),
];

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

/// Name and dimensions of the published checkpoints whose dimensions are known by name.
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
    /// Reads a Hugging Face `config.json`. A field that is `null` counts as absent; the decoder starts with padding if no
    /// other id is given.
    ///
    /// # Errors
    /// If the file is missing, not a T5 configuration, or holds a value that cannot be run.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let mut fields = Fields::read(path, BackboneKind::T5, &FIELDS)?;
        if let Some(value) = fields.text("model_type").filter(|model_type| *model_type != "t5") {
            return Err(refused("model_type", format!("`{value}`"), "`t5`"));
        }
        let form = FeedForward::of(&fields)?;
        fields.set(feed_forward::PROJECTION, form.name().into());
        fields.set_default("decoder_start_token_id", |fields| fields.get("pad_token_id").cloned());
        let config: Self = serde_json::from_value(fields.into_value()).map_err(|source| {
            ConfigError::Format { path: path.to_owned(), kind: BackboneKind::T5, source }
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The names of the published checkpoints whose dimensions are known.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.into_iter().map(|(name, _)| name)
    }

    /// The dimensions of a published checkpoint: `t5-small`, `t5-base`, ...
    ///
    /// # Errors
    /// If there is no preset of that name.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::Preset {
            name: name.to_owned(),
            known: Self::presets().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "),
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

    /// Checks that all values can be run, and that none is so large that memory would end.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let (width, layers) = (limits::WIDTH, limits::LAYERS);
        let positive = [
            ("vocab_size", self.vocab_size, limits::VOCABULARY),
            ("d_model", self.d_model, width),
            ("d_kv", self.d_kv, width),
            ("d_ff", self.d_ff, limits::INNER),
            ("num_layers", self.num_layers, layers),
            ("num_decoder_layers", self.layers(Stack::Decoder), layers),
            ("num_heads", self.num_heads, width),
            ("relative_attention_num_buckets", self.relative_attention_num_buckets, width),
            ("relative_attention_max_distance", self.relative_attention_max_distance, limits::POSITIONS),
        ];
        for (field, value, most) in positive {
            if !(1..=most).contains(&value) {
                return Err(refused(field, value.to_string(), &format!("a number from 1 to {most}")));
            }
        }
        let buckets = self.relative_attention_num_buckets;
        if buckets < 4 || !buckets.is_multiple_of(4) {
            return Err(refused("relative_attention_num_buckets", buckets.to_string(), "a multiple of 4"));
        }
        if self.relative_attention_max_distance <= buckets / 2 {
            return Err(refused(
                "relative_attention_max_distance",
                self.relative_attention_max_distance.to_string(),
                "more than half of `relative_attention_num_buckets`",
            ));
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return Err(refused(
                "layer_norm_epsilon",
                self.layer_norm_epsilon.to_string(),
                "a number between 0 and 1",
            ));
        }
        for (field, id) in [
            ("pad_token_id", self.pad_token_id),
            ("eos_token_id", self.eos_token_id),
            ("decoder_start_token_id", self.decoder_start_token_id),
        ] {
            if usize::try_from(id).map_or(true, |id| id >= self.vocab_size) {
                return Err(refused(field, id.to_string(), "an id inside the vocabulary"));
            }
        }
        Ok(())
    }

    /// Number of blocks of a stack.
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

    /// Factor on the decoder's output before the output layer: `d_model^-0.5` in v1.0, 1 in v1.1.
    pub fn head_scale(&self) -> f64 {
        let scaled = self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings);
        if scaled { (self.d_model as f64).powf(-0.5) } else { 1.0 }
    }

    /// Name of the matrix of the output layer, `[vocab_size, d_model]`.
    pub fn head_name(&self) -> &'static str {
        if self.tie_word_embeddings { names::SHARED } else { names::LM_HEAD }
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

fn refused(field: &'static str, value: String, expected: &str) -> ConfigError {
    ConfigError::Value { kind: BackboneKind::T5, field, value, expected: expected.to_owned() }
}
