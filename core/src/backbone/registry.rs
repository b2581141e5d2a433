//! The list of backbones: opens a folder of any kind, and stores any configuration in a manifest.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bert::{BertBackbone, BertConfig};
use super::error::{BackboneError, ConfigError};
use super::kind::BackboneKind;
use super::t5::{T5Backbone, T5Config};
use super::{Backbone, BackboneConfig};

/// What a backbone is opened for.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions<'a> {
    /// The name of the method that will use it, for messages.
    pub method: &'a str,
    /// The kinds that the method runs on, at least one. A folder that does not say what it holds is read as the first.
    pub kinds: &'a [BackboneKind],
    /// Whether a T5's cross-attention has a relative bias of its own
    /// (docs/reference/backbones.md#cross-attention-bias). Other backbones have none.
    pub cross_attention_relative_bias: bool,
}

/// Opens the model in `folder`; weights stay on disk until they are read.
///
/// # Errors
/// If the folder holds a model of a kind that the method does not run on, a file is missing or unusable, or a tensor is
/// missing, misshapen or unknown; the message names it.
pub fn open(folder: &Path, options: &OpenOptions<'_>) -> Result<Box<dyn Backbone>, BackboneError> {
    let found = BackboneKind::of_folder(folder);
    let first = options.kinds.first().copied().unwrap_or(BackboneKind::T5);
    if let Some(found) = found.filter(|found| !options.kinds.contains(found)) {
        return Err(BackboneError::Kind {
            folder: folder.to_owned(),
            found,
            expected: first,
            method: options.method.to_owned(),
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

    /// The dimensions of a published checkpoint, such as `t5-base` or `bert-base`; those of the kind's base checkpoint
    /// without a name.
    ///
    /// # Errors
    /// If `kind` has no preset of that name.
    pub fn preset(kind: BackboneKind, name: Option<&str>) -> Result<Self, ConfigError> {
        Ok(match kind {
            BackboneKind::T5 => Self::T5(T5Config::preset(name.unwrap_or("t5-base"))?),
            BackboneKind::Bert => Self::Bert(BertConfig::preset(name.unwrap_or("bert-base"))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::site::Stack;

    #[test]
    fn lora_sites_are_projections_of_the_backbone_with_their_widths() {
        for (kind, blocks, sites) in [(BackboneKind::T5, [12, 12], 72), (BackboneKind::Bert, [12, 0], 24)] {
            let shape = Architecture::preset(kind, None).unwrap().config().shape();
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
            let shape = Architecture::preset(kind, None).unwrap().config().shape();
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
            let options = OpenOptions { method: "m", kinds, cross_attention_relative_bias: false };
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
        assert!(message.contains("bert-tiny` holds a BERT, but method `m` runs on a T5"), "{message}");
    }
}
