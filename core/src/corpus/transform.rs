//! Rewriting of labels while a corpus is read.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::layout::Layout;

/// A change of every label, in this order: prefix, cut, case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelTransform {
    /// Removed from the front of labels that begin with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// Labels end before the first of this character: `reminder/todo` cut at `/` is `reminder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<char>,
    /// Letter case.
    pub case: LabelCase,
}

/// Letter case of labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelCase {
    /// As distributed.
    #[default]
    Keep,
    /// Lower case.
    Lower,
}

/// Which labels a task learns, by name or in full: `"keep"`, `"plain"`, `"reference"`, or a table with `strip_prefix`, `cut_at` and
/// `case`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Labels {
    /// By name.
    Preset(LabelPreset),
    /// In full.
    Custom(LabelTransform),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Preset(LabelPreset::Keep)
    }
}

/// A named set of label transforms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelPreset {
    /// As distributed; only mTOP and mTOD as with [`LabelPreset::Plain`].
    #[default]
    Keep,
    /// Short labels: lower case, mTOP without `SL:`, mTOD up to `/`. For the corpora of the paper.
    Plain,
    /// What the authors trained on, as far as their losses show: as distributed, but mTOP in lower case with its `sl:`, mTOD up
    /// to `/`.
    Reference,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

/// Reads the two forms of [`Labels`].
struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "one of \"keep\", \"plain\", \"reference\", or a table such as { strip_prefix = \"SL:\", cut_at = \"/\", case = \"lower\" }",
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Labels, E> {
        LabelPreset::deserialize(name.into_deserializer()).map(Labels::Preset)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Labels, A::Error> {
        LabelTransform::deserialize(MapAccessDeserializer::new(map)).map(Labels::Custom)
    }
}

impl Labels {
    /// The transform for a corpus in `layout`.
    pub fn transform(&self, layout: Layout) -> LabelTransform {
        let preset = match self {
            Self::Custom(transform) => return transform.clone(),
            Self::Preset(preset) => *preset,
        };
        let facebook = matches!(layout, Layout::Mtop | Layout::Mtod);
        let plain = preset == LabelPreset::Plain || (preset == LabelPreset::Keep && facebook);
        LabelTransform {
            strip_prefix: if plain && layout == Layout::Mtop { "SL:".to_owned() } else { String::new() },
            cut_at: (layout == Layout::Mtod).then_some('/'),
            case: if plain || layout == Layout::Mtop { LabelCase::Lower } else { LabelCase::Keep },
        }
    }
}

impl LabelTransform {
    /// The new form of a label, and the part of the old one that it was made of. Two parts that become one form are an error; that
    /// labels become one when they are cut is the purpose of the cut.
    pub fn apply<'l>(&self, label: &'l str) -> (String, &'l str) {
        let stripped = label.strip_prefix(self.strip_prefix.as_str()).unwrap_or(label);
        let cut = self.cut_at.and_then(|at| stripped.split(at).next());
        let part = cut.unwrap_or(label);
        let new = match self.case {
            LabelCase::Keep => cut.unwrap_or(stripped).to_owned(),
            LabelCase::Lower => cut.unwrap_or(stripped).to_lowercase(),
        };
        (new, part)
    }
}
