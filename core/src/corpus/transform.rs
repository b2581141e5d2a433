//! Rewriting of labels while a corpus is read.

use serde::{Deserialize, Serialize};

use super::Layout;

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

/// Which labels a task learns, by name or in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// By name.
    Preset(LabelPreset),
    /// In full.
    Custom(LabelTransform),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Preset(LabelPreset::Plain)
    }
}

/// A named set of label transforms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelPreset {
    /// Short labels: lower case, mTOP without `SL:`, mTOD up to `/`.
    #[default]
    Plain,
    /// What the authors trained on, as far as their losses show: as distributed, but mTOP in lower case with its `sl:`, mTOD up
    /// to `/`.
    Reference,
}

impl Labels {
    /// The transform for a corpus in `layout`.
    pub fn transform(&self, layout: Layout) -> LabelTransform {
        let preset = match self {
            Self::Custom(transform) => return transform.clone(),
            Self::Preset(preset) => *preset,
        };
        let plain = preset == LabelPreset::Plain;
        LabelTransform {
            strip_prefix: if plain && layout == Layout::Mtop { "SL:".to_owned() } else { String::new() },
            cut_at: (layout == Layout::Mtod).then_some('/'),
            case: if plain || layout == Layout::Mtop { LabelCase::Lower } else { LabelCase::Keep },
        }
    }
}

impl LabelTransform {
    /// The new form of a label.
    pub fn apply(&self, label: &str) -> String {
        let label = label.strip_prefix(self.strip_prefix.as_str()).unwrap_or(label);
        let label = self.cut_at.and_then(|at| label.split(at).next()).unwrap_or(label);
        match self.case {
            LabelCase::Keep => label.to_owned(),
            LabelCase::Lower => label.to_lowercase(),
        }
    }
}
