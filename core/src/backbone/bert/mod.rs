//! BERT's shape (Devlin et al. 2019): Hugging Face's `config.json`, tensor names, and a folder of weights, loaded strictly.
//!
//! MiniLM and its relatives are BERTs of other dimensions. Only the encoder is used: poolers and heads are passed over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backbone::{BackboneError, CONFIG, TOKENIZER, check_vocabulary};
use crate::files::{FileError, read_text};
use crate::text::wordpiece::{VOCABULARY, WordPiece};
use crate::weights::pretrained::Weights;
use crate::weights::tensors::HostTensor;

/// A BERT's `config.json` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BertConfigError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a BERT configuration.
    #[error("`{}` is not a BERT `config.json`: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        reason: String,
    },
    /// A field holds a value that this program cannot run.
    #[error("field `{field}` of the BERT configuration is {value}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What can be run.
        expected: String,
    },
    /// No such preset.
    #[error("unknown BERT preset `{name}`, expected one of {known}")]
    Preset {
        /// What was asked for.
        name: String,
        /// All presets.
        known: String,
    },
}

/// BERT's dimensions: the fields of Hugging Face's `config.json` that the computation depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads, each `hidden_size / num_attention_heads` wide.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the position embedding: the longest source.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding, of which the first is used.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Epsilon of the layer norms.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// Dropout of states in training.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights in training.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
}

/// Fields whose values are checked and not kept: of each, one value can be run.
#[derive(Deserialize)]
struct Fixed {
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

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

/// Name and dimensions of the published checkpoints whose shape can be asked for by name.
const PRESETS: [(&str, [usize; 4]); 3] = [
    // hidden, layers, heads, intermediate
    ("bert-base", [768, 12, 12, 3072]),
    ("bert-large", [1024, 24, 16, 4096]),
    ("minilm-l12-h384", [384, 12, 12, 1536]),
];

impl BertConfig {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// If the file is missing, not a BERT configuration, or holds a value that cannot be run.
    pub fn from_file(path: &Path) -> Result<Self, BertConfigError> {
        let text = read_text(path)?;
        let format =
            |e: serde_json::Error| BertConfigError::Format { path: path.to_owned(), reason: e.to_string() };
        let fixed: Fixed = serde_json::from_str(&text).map_err(format)?;
        for (field, value, expected) in [
            ("model_type", fixed.model_type, "bert"),
            ("hidden_act", fixed.hidden_act, "gelu"),
            ("position_embedding_type", fixed.position_embedding_type, "absolute"),
            ("is_decoder", fixed.is_decoder.then(|| "true".to_owned()), "false"),
        ] {
            if let Some(value) = value.filter(|value| value != expected) {
                let (value, expected) = (format!("`{value}`"), format!("`{expected}`"));
                return Err(BertConfigError::Value { field, value, expected });
            }
        }
        let config: Self = serde_json::from_str(&text).map_err(format)?;
        config.validate()?;
        Ok(config)
    }

    /// The dimensions of a published checkpoint with BERT's English vocabulary: `bert-base`, ...
    ///
    /// # Errors
    /// If there is no preset of that name.
    pub fn preset(name: &str) -> Result<Self, BertConfigError> {
        let unknown = || BertConfigError::Preset {
            name: name.to_owned(),
            known: PRESETS.map(|(n, _)| format!("`{n}`")).join(", "),
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

    fn validate(&self) -> Result<(), BertConfigError> {
        let value = |field, value: String, expected: &str| {
            Err(BertConfigError::Value { field, value, expected: expected.to_owned() })
        };
        for (field, n) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if n == 0 || n > 1 << 24 {
                return value(field, n.to_string(), "a number from 1 to 16777216");
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

    /// Name and shape of every tensor of the encoder, Hugging Face's names, linear weights `[out, in]`.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let mut all = BTreeMap::from([
            (names::WORDS.to_owned(), vec![self.vocab_size, d]),
            (names::POSITIONS.to_owned(), vec![self.max_position_embeddings, d]),
            (names::TYPES.to_owned(), vec![self.type_vocab_size, d]),
        ]);
        let mut pair = |name: &str, shape: &[usize]| {
            all.insert(format!("{name}.weight"), shape.to_vec());
            all.insert(format!("{name}.bias"), shape[..1].to_vec());
        };
        pair(names::EMBEDDING_NORM, &[d]);
        for layer in 0..self.num_hidden_layers {
            let mut part = |part, shape: &[usize]| pair(&names::layer(layer, part), shape);
            for projection in [names::QUERY, names::KEY, names::VALUE, names::ATTENTION_OUTPUT] {
                part(projection, &[d, d]);
            }
            part(names::ATTENTION_NORM, &[d]);
            part(names::INTERMEDIATE, &[inner, d]);
            part(names::OUTPUT, &[d, inner]);
            part(names::OUTPUT_NORM, &[d]);
        }
        all
    }
}

/// Hugging Face's tensor names.
pub mod names {
    /// Word embedding, `[vocab_size, hidden_size]`.
    pub const WORDS: &str = "bert.embeddings.word_embeddings.weight";
    /// Position embedding, `[max_position_embeddings, hidden_size]`.
    pub const POSITIONS: &str = "bert.embeddings.position_embeddings.weight";
    /// Token-type embedding, `[type_vocab_size, hidden_size]`.
    pub const TYPES: &str = "bert.embeddings.token_type_embeddings.weight";
    /// Norm behind the embeddings.
    pub const EMBEDDING_NORM: &str = "bert.embeddings.LayerNorm";

    /// Queries of a layer.
    pub const QUERY: &str = "attention.self.query";
    /// Keys of a layer.
    pub const KEY: &str = "attention.self.key";
    /// Values of a layer.
    pub const VALUE: &str = "attention.self.value";
    /// Behind the joined heads.
    pub const ATTENTION_OUTPUT: &str = "attention.output.dense";
    /// Norm behind attention.
    pub const ATTENTION_NORM: &str = "attention.output.LayerNorm";
    /// First map of the feed-forward layer.
    pub const INTERMEDIATE: &str = "intermediate.dense";
    /// Second map of the feed-forward layer.
    pub const OUTPUT: &str = "output.dense";
    /// Norm behind the feed-forward layer.
    pub const OUTPUT_NORM: &str = "output.LayerNorm";

    /// A part of a layer, without `.weight` or `.bias`.
    pub fn layer(layer: usize, part: &str) -> String {
        format!("bert.encoder.layer.{layer}.{part}")
    }
}

/// What checkpoints hold besides the encoder, by the beginning of the name behind `bert.`.
const PASSED_OVER: [&str; 6] =
    ["pooler.", "cls.", "classifier.", "qa_outputs.", "embeddings.position_ids", "embeddings.token_type_ids"];

/// A pretrained BERT in Hugging Face's layout whose encoder's tensors are exactly those that its configuration implies.
#[derive(Debug)]
pub struct BertBackbone {
    /// The folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: BertConfig,
    weights: Weights,
    /// The stored name of each tensor of the encoder.
    stored: BTreeMap<String, String>,
}

impl BertBackbone {
    /// Opens a folder; weights stay on disk until they are read.
    ///
    /// Names may lack `bert.`, as `BertModel` writes them, and norms may be called `gamma` and `beta`, as in the first
    /// checkpoints. Poolers and heads are passed over.
    ///
    /// # Errors
    /// If a file is missing, or a tensor is missing, misshapen or unknown; the message names it.
    pub fn open(folder: &Path) -> Result<Self, BackboneError> {
        if !folder.is_dir() {
            return Err(BackboneError::NoFolder(folder.to_owned()));
        }
        let config = BertConfig::from_file(&folder.join(CONFIG))?;
        let weights = Weights::open(folder)?;
        let mut expected = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (name, shape) in config.tensors() {
            let found = spellings(&name).into_iter().find(|spelling| weights.contains(spelling));
            let found = found.unwrap_or_else(|| name.clone());
            expected.insert(found.clone(), shape);
            stored.insert(name, found);
        }
        let passed_over: Vec<&str> = weights.names().filter(|name| is_passed_over(name)).collect();
        weights.check(&expected, &passed_over)?;
        Ok(Self { folder: folder.to_owned(), config, weights, stored })
    }

    /// A tensor of the encoder by its name in [`BertConfig::tensors`], as float32.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, BackboneError> {
        Ok(self.weights.floats(self.stored.get(name).map_or(name, String::as_str))?)
    }

    /// Where the tokenizer lies: `tokenizer.json`, or `vocab.txt` if only that is there.
    pub fn tokenizer(&self) -> PathBuf {
        let (json, text) = (self.folder.join(TOKENIZER), self.folder.join(VOCABULARY));
        if !json.exists() && text.exists() { text } else { json }
    }

    /// The codec over the tokenizer. Every id that it gives has a row in the embedding.
    ///
    /// # Errors
    /// If the tokenizer is missing, no BERT tokenizer, or larger than the embedding.
    pub fn codec(&self) -> Result<WordPiece, BackboneError> {
        let path = self.tokenizer();
        let codec = WordPiece::from_file(&path)?;
        check_vocabulary(&path, codec.vocabulary_size(), self.config.vocab_size)?;
        Ok(codec)
    }

    /// Where the weights lie: the single file, or the index of the shards.
    pub fn weights(&self) -> &Path {
        self.weights.path()
    }

    /// The SHA-256 that stands for the weights (see [`Weights::hash`]).
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn hash(&self) -> Result<String, BackboneError> {
        Ok(self.weights.hash()?)
    }
}

/// The names that checkpoints have for a tensor.
fn spellings(name: &str) -> Vec<String> {
    let bare = name.strip_prefix("bert.").unwrap_or(name);
    let first = |name: &str| {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    };
    vec![name.to_owned(), bare.to_owned(), first(name), first(bare)]
}

fn is_passed_over(name: &str) -> bool {
    let bare = name.strip_prefix("bert.").unwrap_or(name);
    PASSED_OVER.iter().any(|beginning| bare.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;
    use crate::weights::tensors::{Tensors, write_tensors};

    fn tiny() -> BertConfig {
        BertConfig {
            vocab_size: 12,
            hidden_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 6,
            max_position_embeddings: 8,
            ..BertConfig::preset("bert-base").unwrap()
        }
    }

    /// A folder whose tensors are named by `spell`, each filled with its place in the list.
    fn folder(spell: impl Fn(&str) -> String, extra: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut tensors: Tensors = (0..)
            .zip(tiny().tensors())
            .map(|(place, (name, shape))| (spell(&name), ArrayD::from_elem(shape, place as f32)))
            .collect();
        tensors.extend(extra.iter().map(|name| ((*name).to_owned(), ArrayD::zeros(vec![1]))));
        write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
        std::fs::write(folder.path().join(CONFIG), serde_json::to_string(&tiny()).unwrap()).unwrap();
        folder
    }

    #[test]
    fn berts_are_read_under_every_name_that_their_checkpoints_use() {
        let bare = |name: &str| name.trim_start_matches("bert.").to_owned();
        let first = |name: &str| name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta");
        let heads = ["cls.predictions.bias", "bert.pooler.dense.bias", "bert.embeddings.position_ids"];
        for folder in [
            folder(str::to_owned, &[]),
            folder(bare, &["pooler.dense.weight", "embeddings.position_ids"]),
            folder(first, &heads),
        ] {
            let backbone = BertBackbone::open(folder.path()).unwrap();
            for (place, (name, shape)) in (0..).zip(tiny().tensors()) {
                assert_eq!(backbone.tensor(&name).unwrap(), ArrayD::from_elem(shape, place as f32), "{name}");
            }
        }
    }

    #[test]
    fn missing_and_unknown_tensors_are_named() {
        let open = |folder: tempfile::TempDir| BertBackbone::open(folder.path()).unwrap_err().to_string();
        let renamed = folder(|name| name.replace("key.bias", "key.bios"), &[]);
        let message = open(renamed);
        assert!(message.contains("`bert.encoder.layer.0.attention.self.key.bias` is missing"), "{message}");
        let message = open(folder(str::to_owned, &["bert.encoder.layer.1.output.dense.bias"]));
        assert!(message.contains("`bert.encoder.layer.1.output.dense.bias`"), "{message}");
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CONFIG);
        let fails = |field: &str, value: serde_json::Value| {
            let mut config = serde_json::to_value(tiny()).unwrap();
            config[field] = value;
            std::fs::write(&path, config.to_string()).unwrap();
            BertConfig::from_file(&path).unwrap_err().to_string()
        };
        for (field, value, said) in [
            ("model_type", "roberta".into(), "`model_type` of the BERT configuration is `roberta`"),
            ("hidden_act", "gelu_new".into(), "is `gelu_new`, expected `gelu`"),
            ("position_embedding_type", "relative_key".into(), "expected `absolute`"),
            ("is_decoder", true.into(), "expected `false`"),
            ("num_attention_heads", 3.into(), "a divisor of `hidden_size` 4"),
            ("layer_norm_eps", 0.into(), "`layer_norm_eps`"),
            ("pad_token_id", 12.into(), "an id inside the vocabulary"),
            ("hidden_size", serde_json::Value::Null, "is not a BERT `config.json`"),
        ] {
            let message = fails(field, value);
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn bert_base_has_the_published_number_of_parameters_without_its_pooler() {
        let elements = |preset| -> usize {
            let tensors = BertConfig::preset(preset).unwrap().tensors();
            tensors.values().map(|shape| shape.iter().product::<usize>()).sum()
        };
        // 109,482,240 with the pooler's 768 * 768 + 768.
        assert_eq!(elements("bert-base"), 109_482_240 - 590_592);
        assert!(BertConfig::preset("bert-bse").unwrap_err().to_string().contains("`bert-base`"));
    }
}
