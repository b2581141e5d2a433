//! BERT's dimensions: the fields of Hugging Face's `config.json` that the computation depends on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backbone::error::ConfigError;
use crate::backbone::fields::{FieldType, Fields};
use crate::backbone::kind::BackboneKind;
use crate::backbone::limits;

/// BERT's dimensions: the fields of Hugging Face's `config.json` that the computation depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads, each `hidden_size / num_attention_heads` wide.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the position embedding: the longest source in tokens.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding, of which the first is used.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Added to the variance in the layer norms.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Id of the padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// Dropout rate of states in training, from 0 to 1.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout rate of attention weights in training, from 0 to 1.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
}

/// The fields that are read. Of the first four only one value can be run.
const FIELDS: [(&str, FieldType); 15] = [
    ("model_type", FieldType::Text),
    ("hidden_act", FieldType::Text),
    ("position_embedding_type", FieldType::Text),
    ("is_decoder", FieldType::Flag),
    ("vocab_size", FieldType::Size),
    ("hidden_size", FieldType::Size),
    ("num_hidden_layers", FieldType::Size),
    ("num_attention_heads", FieldType::Size),
    ("intermediate_size", FieldType::Size),
    ("max_position_embeddings", FieldType::Size),
    ("type_vocab_size", FieldType::Size),
    ("layer_norm_eps", FieldType::Number),
    ("pad_token_id", FieldType::Id),
    ("hidden_dropout_prob", FieldType::Number),
    ("attention_probs_dropout_prob", FieldType::Number),
];

fn default_positions() -> usize {
    512
}
fn default_types() -> usize {
    2
}
fn default_epsilon() -> f64 {
    1e-12
}
fn default_dropout() -> f64 {
    0.1
}

/// Name and dimensions of the published checkpoints whose dimensions are known by name.
const PRESETS: [(&str, [usize; 4]); 4] = [
    // hidden, layers, heads, intermediate
    ("bert-base", [768, 12, 12, 3072]),
    ("bert-large", [1024, 24, 16, 4096]),
    ("minilm-l6-h384", [384, 6, 12, 1536]),
    ("minilm-l12-h384", [384, 12, 12, 1536]),
];

impl BertConfig {
    /// Reads a Hugging Face `config.json`. A field that is `null` counts as absent.
    ///
    /// # Errors
    /// If the file is missing, not a BERT configuration, or holds a value that cannot be run.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let fields = Fields::read(path, BackboneKind::Bert, &FIELDS)?;
        for (field, value, expected) in [
            ("model_type", fields.text("model_type"), "bert"),
            ("hidden_act", fields.text("hidden_act"), "gelu"),
            ("position_embedding_type", fields.text("position_embedding_type"), "absolute"),
            ("is_decoder", fields.flag("is_decoder").filter(|flag| *flag).map(|_| "true"), "false"),
        ] {
            if let Some(value) = value.filter(|value| *value != expected) {
                return Err(refused(field, format!("`{value}`"), &format!("`{expected}`")));
            }
        }
        let config: Self = serde_json::from_value(fields.into_value()).map_err(|source| {
            ConfigError::Format { path: path.to_owned(), kind: BackboneKind::Bert, source }
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The names of the published checkpoints whose dimensions are known.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.into_iter().map(|(name, _)| name)
    }

    /// The dimensions of a published checkpoint with BERT's English vocabulary: `bert-base`, ...
    ///
    /// # Errors
    /// If there is no preset of that name.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::Preset {
            name: name.to_owned(),
            known: Self::presets().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "),
        };
        let (_, [hidden_size, num_hidden_layers, num_attention_heads, intermediate_size]) =
            PRESETS.into_iter().find(|(n, _)| *n == name).ok_or_else(unknown)?;
        Ok(Self {
            vocab_size: 30_522,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            max_position_embeddings: default_positions(),
            type_vocab_size: default_types(),
            layer_norm_eps: default_epsilon(),
            pad_token_id: 0,
            hidden_dropout_prob: default_dropout(),
            attention_probs_dropout_prob: default_dropout(),
        })
    }

    /// Checks that all values can be run, and that none is so large that memory would end.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let value = |field, value, expected: &str| Err(refused(field, value, expected));
        for (field, n, most) in [
            ("vocab_size", self.vocab_size, limits::VOCABULARY),
            ("hidden_size", self.hidden_size, limits::WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, limits::LAYERS),
            ("num_attention_heads", self.num_attention_heads, limits::WIDTH),
            ("intermediate_size", self.intermediate_size, limits::INNER),
            ("max_position_embeddings", self.max_position_embeddings, limits::POSITIONS),
            ("type_vocab_size", self.type_vocab_size, limits::WIDTH),
        ] {
            if !(1..=most).contains(&n) {
                return value(field, n.to_string(), &format!("a number from 1 to {most}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of `hidden_size` {}", self.hidden_size);
            return value("num_attention_heads", self.num_attention_heads.to_string(), &expected);
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return value("layer_norm_eps", self.layer_norm_eps.to_string(), "a number between 0 and 1");
        }
        if usize::try_from(self.pad_token_id).map_or(true, |id| id >= self.vocab_size) {
            return value("pad_token_id", self.pad_token_id.to_string(), "an id inside the vocabulary");
        }
        Ok(())
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

fn refused(field: &'static str, value: String, expected: &str) -> ConfigError {
    ConfigError::Value { kind: BackboneKind::Bert, field, value, expected: expected.to_owned() }
}
