//! The kinds of backbones.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::CONFIG;
use crate::files::read_text;

/// A kind of backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackboneKind {
    /// T5 (Raffel et al. 2020): an encoder-decoder that writes tags as text.
    T5,
    /// BERT (Devlin et al. 2019): an encoder whose states are classified.
    Bert,
}

impl fmt::Display for BackboneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::T5 => "T5",
            Self::Bert => "BERT",
        })
    }
}

impl BackboneKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::T5, Self::Bert];

    /// The kind of the model in `folder`, from `config.json`: its `model_type` or, without one, the field that holds the
    /// width of the hidden states. `None` if the file is unreadable or describes another model.
    pub fn of_folder(folder: &Path) -> Option<Self> {
        Self::of(&json(folder).ok()??)
    }

    /// The kind of the model that `config`, the content of a `config.json`, describes; see [`BackboneKind::of_folder`].
    pub(super) fn of(config: &Value) -> Option<Self> {
        match config.get("model_type").filter(|model_type| !model_type.is_null()) {
            Some(model_type) => serde_json::from_value(model_type.clone()).ok(),
            None if config.get("d_model").is_some() => Some(Self::T5),
            None if config.get("hidden_size").is_some() => Some(Self::Bert),
            None => None,
        }
    }

    /// The `model_type` in `config`, the content of a `config.json`, if it is of no kind.
    pub(super) fn foreign(config: &Value) -> Option<String> {
        let model_type = config.get("model_type")?.as_str()?.to_owned();
        serde_json::from_value::<Self>(model_type.as_str().into()).is_err().then_some(model_type)
    }

    /// The `model_type` of the kind.
    pub(super) fn model_type(self) -> &'static str {
        match self {
            Self::T5 => "t5",
            Self::Bert => "bert",
        }
    }
}

/// The content of the `config.json` of `folder`; `None` if it cannot be read, which is reported when it is opened as a
/// configuration.
///
/// # Errors
/// If it is not JSON.
pub(super) fn json(folder: &Path) -> Result<Option<Value>, serde_json::Error> {
    read_text(&folder.join(CONFIG)).ok().map(|text| serde_json::from_str(&text)).transpose()
}
