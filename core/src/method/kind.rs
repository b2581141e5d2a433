//! The names of all methods.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backbone::kind::BackboneKind;

/// A training method of the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// HyperLoader: generated adapters, LoRA and layer norms (Ortiz-Barajas et al. 2024).
    #[default]
    HyperLoader,
    /// HyperFormer++: generated adapters and layer norms (Mahabadi et al. 2021).
    #[serde(rename = "hyperformer++")]
    HyperFormerPlusPlus,
    /// HyperFormer: the same with separate hypernetworks for each position (Mahabadi et al. 2021).
    HyperFormer,
    /// Hyperdecoder: decoder adapters generated for each input (Ivison and Peters 2022).
    Hyperdecoder,
    /// Adapters (Houlsby et al. 2019).
    Adapters,
    /// LoRA (Hu et al. 2022).
    Lora,
    /// UniPELT as the paper runs it on T5: adapters and LoRA (Mao et al. 2022).
    UniPelt,
    /// Full fine-tuning: all of the backbone.
    Full,
    /// Gated LoRA, prefix and adapters on a BERT (Mao et al. 2022).
    #[serde(rename = "unipelt-bert")]
    UnipeltBert,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 9] = [
        Method::HyperLoader,
        Method::HyperFormerPlusPlus,
        Method::HyperFormer,
        Method::Hyperdecoder,
        Method::Adapters,
        Method::Lora,
        Method::UniPelt,
        Method::Full,
        Method::UnipeltBert,
    ];

    /// The name that the command line and files use.
    pub fn name(self) -> &'static str {
        match self {
            Method::HyperLoader => "hyperloader",
            Method::HyperFormerPlusPlus => "hyperformer++",
            Method::HyperFormer => "hyperformer",
            Method::Hyperdecoder => "hyperdecoder",
            Method::Adapters => "adapters",
            Method::Lora => "lora",
            Method::UniPelt => "unipelt",
            Method::Full => "full",
            Method::UnipeltBert => "unipelt-bert",
        }
    }

    /// The kinds of backbones that it runs on. A folder that does not say what it holds is read as the first.
    pub fn backbones(self) -> &'static [BackboneKind] {
        match self {
            Method::UnipeltBert => &[BackboneKind::Bert],
            Method::Hyperdecoder => &[BackboneKind::T5],
            _ => &[BackboneKind::T5, BackboneKind::Bert],
        }
    }

    /// What to do on a kind of backbone that it does not run on.
    pub fn hint(self) -> &'static str {
        match self {
            Method::Hyperdecoder => {
                "`hyperdecoder` generates the adapters of a decoder, which an encoder lacks; all other methods run on a BERT"
            }
            Method::UnipeltBert => {
                "`unipelt-bert` needs a BERT or MiniLM, such as `bert-base-uncased`; the method for a T5 is `unipelt`"
            }
            _ => "the method runs on a T5 and on a BERT or MiniLM",
        }
    }

    /// Whether it runs on a kind of backbone.
    pub fn runs_on(self, kind: BackboneKind) -> bool {
        self.backbones().contains(&kind)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
