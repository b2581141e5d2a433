//! A BERT in Hugging Face's layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::BertConfig;
use crate::backbone::error::BackboneError;
use crate::backbone::folder::{CONFIG, TOKENIZER};
use crate::backbone::{Backbone, BackboneConfig, check_vocabulary};
use crate::text::wordpiece::{VOCABULARY, WordPiece};
use crate::weights::pretrained::Weights;

/// Beginnings, after `bert.`, of the names of tensors that are not part of the encoder; they are not read.
const NOT_READ: [&str; 6] =
    ["pooler.", "cls.", "classifier.", "qa_outputs.", "embeddings.position_ids", "embeddings.token_type_ids"];

/// A BERT in a folder. The tensors of its encoder are exactly those that its configuration implies.
#[derive(Debug)]
pub struct BertBackbone {
    /// Path of the folder.
    pub folder: PathBuf,
    /// The configuration; training may change its dropout rates.
    pub config: BertConfig,
    weights: Weights,
    /// The stored name of each tensor of the encoder.
    stored_names: BTreeMap<String, String>,
}

impl BertBackbone {
    /// Opens a folder; weights stay on disk until they are read.
    ///
    /// Names may lack `bert.`, as `BertModel` writes them, and norms may be called `gamma` and `beta`, as in the first
    /// checkpoints. Poolers and heads are not read.
    ///
    /// # Errors
    /// If a file is missing, or a tensor is missing, misshapen, unknown or not finite; the message names it.
    pub fn open(folder: &Path) -> Result<Self, BackboneError> {
        if !folder.is_dir() {
            return Err(BackboneError::NoFolder(folder.to_owned()));
        }
        let path = folder.join(CONFIG);
        let config = BertConfig::from_file(&path).map_err(|e| BackboneError::in_config(e, path))?;
        let weights = Weights::open(folder)?;
        let mut expected = BTreeMap::new();
        let mut stored_names = BTreeMap::new();
        for (name, shape) in config.tensors() {
            let found = spellings(&name).into_iter().find(|spelling| weights.contains(spelling));
            let found = found.unwrap_or_else(|| name.clone());
            expected.insert(found.clone(), shape);
            stored_names.insert(name, found);
        }
        let not_read: Vec<&str> = weights.names().filter(|name| is_not_read(name)).collect();
        weights.check(&expected, &not_read)?;
        weights.check_finite(expected.keys().map(String::as_str))?;
        Ok(Self { folder: folder.to_owned(), config, weights, stored_names })
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
}

impl Backbone for BertBackbone {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn config(&self) -> &dyn BackboneConfig {
        &self.config
    }

    fn config_mut(&mut self) -> &mut dyn BackboneConfig {
        &mut self.config
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.stored_names.get(name).map_or(name, String::as_str)
    }

    /// `tokenizer.json`, or `vocab.txt` if only that exists.
    fn tokenizer(&self) -> PathBuf {
        let (json, text) = (self.folder.join(TOKENIZER), self.folder.join(VOCABULARY));
        if !json.exists() && text.exists() { text } else { json }
    }
}

/// The names under which checkpoints store a tensor.
fn spellings(name: &str) -> Vec<String> {
    let bare = name.strip_prefix("bert.").unwrap_or(name);
    let first = |name: &str| {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    };
    vec![name.to_owned(), bare.to_owned(), first(name), first(bare)]
}

fn is_not_read(name: &str) -> bool {
    let bare = name.strip_prefix("bert.").unwrap_or(name);
    NOT_READ.iter().any(|beginning| bare.starts_with(beginning))
}
