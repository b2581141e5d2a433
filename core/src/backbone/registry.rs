//! The list of backbones: opens a folder of any kind, and stores any configuration in a manifest.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bert::{BertBackbone, BertConfig};
use super::error::{BackboneError, ConfigError};
use super::folder::{CONFIG, model_folder};
use super::kind::{self, BackboneKind};
use super::t5::{T5Backbone, T5Config};
use super::{Backbone, BackboneConfig};

/// What a backbone is opened for.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions<'a> {
    /// What needs the backbone, for messages: ``method `lora` runs on``.
    pub purpose: &'a str,
    /// What to do if the folder holds a model of another kind.
    pub hint: &'static str,
    /// The kinds that fit, at least one. A folder that does not say what it holds is read as the first.
    pub kinds: &'a [BackboneKind],
    /// Whether a T5's cross-attention has a relative bias of its own
    /// (docs/reference/backbones.md#cross-attention-bias). Other backbones have none.
    pub cross_attention_relative_bias: bool,
}

/// Opens the model in `folder` (see [`model_folder`]); weights stay on disk until they are read.
///
/// # Errors
/// If the folder holds a model of another kind, a file is missing or unusable, or a tensor is
/// missing, misshapen or unknown; the message names it.
pub fn open(folder: &Path, options: &OpenOptions<'_>) -> Result<Box<dyn Backbone>, BackboneError> {
    let folder = &*model_folder(folder);
    let config =
        kind::json(folder).map_err(|source| BackboneError::Json { path: folder.join(CONFIG), source })?;
    if let Some(found) = config.as_ref().and_then(BackboneKind::foreign) {
        let types: Vec<String> =
            options.kinds.iter().map(|kind| format!("`{}`", kind.model_type())).collect();
        let (path, purpose) = (folder.join(CONFIG), options.purpose.to_owned());
        return Err(BackboneError::Foreign { path, found, purpose, expected: types.join(" or ") });
    }
    let found = config.as_ref().and_then(BackboneKind::of);
    let first = options.kinds.first().copied().unwrap_or(BackboneKind::T5);
    if let Some(found) = found.filter(|found| !options.kinds.contains(found)) {
        return Err(BackboneError::Kind {
            folder: folder.to_owned(),
            found,
            expected: first,
            purpose: options.purpose.to_owned(),
            hint: options.hint,
        });
    }
    Ok(match found.unwrap_or(first) {
        BackboneKind::T5 => Box::new(T5Backbone::open(folder, options.cross_attention_relative_bias)?),
        BackboneKind::Bert => Box::new(BertBackbone::open(folder)?),
    })
}

/// A configuration of any kind in the form that a run's manifest stores: the field `t5` or `bert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Of a T5.
    T5(T5Config),
    /// Of a BERT.
    Bert(BertConfig),
}

impl Architecture {
    /// The form of `config`.
    ///
    /// # Panics
    /// If `config` is of an implementation that this list lacks.
    pub fn of(config: &dyn BackboneConfig) -> Self {
        let t5 = config.downcast_ref::<T5Config>().map(|config| Self::T5(config.clone()));
        let bert = || config.downcast_ref::<BertConfig>().map(|config| Self::Bert(config.clone()));
        t5.or_else(bert).unwrap_or_else(|| unreachable!("the list of backbones lacks {config:?}"))
    }

    /// Dimensions of the backbone, which training may have changed (dropout).
    pub fn config(&self) -> &dyn BackboneConfig {
        match self {
            Self::T5(config) => config,
            Self::Bert(config) => config,
        }
    }

    /// The dimensions of a published checkpoint of one of `kinds`, such as `t5-base` or `bert-base`; those of the base
    /// checkpoint of the first kind without a name.
    ///
    /// # Errors
    /// If none of `kinds` has a preset of that name.
    pub fn preset(kinds: &[BackboneKind], name: Option<&str>) -> Result<Self, ConfigError> {
        let known = kinds.iter().flat_map(|kind| presets(*kind).into_iter().map(move |name| (*kind, name)));
        let known: Vec<(BackboneKind, &str)> = known.collect();
        let is_asked = |(kind, known): &&(BackboneKind, &str)| match name {
            Some(name) => *known == name,
            None => *known == base_preset(*kind),
        };
        match known.iter().find(is_asked) {
            Some((BackboneKind::T5, name)) => Ok(Self::T5(T5Config::preset(name)?)),
            Some((BackboneKind::Bert, name)) => Ok(Self::Bert(BertConfig::preset(name)?)),
            None => Err(ConfigError::Preset {
                name: name.unwrap_or_default().to_owned(),
                known: known.iter().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

/// The published checkpoints of a kind.
fn presets(kind: BackboneKind) -> Vec<&'static str> {
    match kind {
        BackboneKind::T5 => T5Config::presets().collect(),
        BackboneKind::Bert => BertConfig::presets().collect(),
    }
}

/// The published checkpoint of a kind whose figures papers give.
fn base_preset(kind: BackboneKind) -> &'static str {
    match kind {
        BackboneKind::T5 => "t5-base",
        BackboneKind::Bert => "bert-base",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::site::Stack;

    #[test]
    fn lora_sites_are_projections_of_the_backbone_with_their_widths() {
        for (kind, blocks, sites) in [(BackboneKind::T5, [12, 12], 72), (BackboneKind::Bert, [12, 0], 24)] {
            let shape = Architecture::preset(&[kind], None).unwrap().config().shape();
            assert_eq!(Stack::BOTH.map(|stack| shape.blocks(stack)), blocks, "{kind}");
            assert_eq!(shape.loras().count(), sites, "{kind}");
            for site in shape.loras() {
                let weight = &shape.tensors[&format!("{}.weight", site.module)];
                assert_eq!(*weight, [site.output, site.input], "{}", site.module);
            }
        }
    }

    #[test]
    fn adapter_sites_are_sub_layers_of_the_backbone() {
        for kind in [BackboneKind::T5, BackboneKind::Bert] {
            let shape = Architecture::preset(&[kind], None).unwrap().config().shape();
            let blocks: usize = shape.stacks().map(|stack| shape.blocks(stack)).sum();
            assert_eq!(shape.adapters().count(), 2 * blocks, "{kind}");
            for site in shape.adapters() {
                let of_module = |name: &String| name.starts_with(&format!("{}.", site.module));
                assert!(shape.tensors.keys().any(of_module), "{}", site.module);
                assert_eq!((site.input, site.output), (shape.width, shape.width));
            }
        }
    }

    #[test]
    fn the_kind_in_a_folder_decides_what_is_opened() {
        let fixture = |name: &str| Path::new("../fixtures/backbones").join(name);
        let open = |name: &str, kinds: &[BackboneKind]| {
            let purpose = "method `m` runs on";
            let options = OpenOptions { purpose, hint: "h", kinds, cross_attention_relative_bias: false };
            open(&fixture(name), &options)
        };
        let both = [BackboneKind::T5, BackboneKind::Bert];
        for (name, kind) in [("t5-nano", BackboneKind::T5), ("bert-tiny", BackboneKind::Bert)] {
            let backbone = open(name, &both).unwrap();
            assert_eq!(backbone.config().kind(), kind);
            let architecture = Architecture::of(backbone.config());
            assert_eq!(architecture.config().fields(), backbone.config().fields());
        }
        let message = open("bert-tiny", &[BackboneKind::T5]).unwrap_err().to_string();
        assert!(
            message.contains("bert-tiny` holds a BERT, but method `m` runs on a T5\nhint: h"),
            "{message}"
        );
    }
}
