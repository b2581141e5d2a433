//! Any method with its hyper-parameters, and the list of published variants.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::MethodError;
use super::family::{MethodFamily, Sharing, TaskShape, check_tasks};
use super::full::FullConfig;
use super::hyper::HyperConfig;
use super::hyperdecoder::HyperdecoderConfig;
use super::kind::Method;
use super::modules::ModulesConfig;
use super::tensors::TrainableTensor;
use super::unipelt_bert::UnipeltBertConfig;
use super::{full, hyper, hyperdecoder, modules, unipelt_bert};
use crate::backbone::BackboneConfig;

/// A named set of hyper-parameters: a method as published, or a variant of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name on the command line: the method's own name if it is as published.
    pub name: &'static str,
    /// Its hyper-parameters.
    pub config: MethodConfig,
}

/// All variants of all methods.
pub fn variants() -> Vec<Variant> {
    fn of<C: Into<MethodConfig>>(family: Vec<(&'static str, C)>) -> impl Iterator<Item = Variant> {
        family.into_iter().map(|(name, config)| Variant { name, config: config.into() })
    }
    of(hyper::variants())
        .chain(of(hyperdecoder::variants()))
        .chain(of(modules::variants()))
        .chain(of(full::variants()))
        .chain(of(unipelt_bert::variants()))
        .collect()
}

/// The variant of this name.
pub fn variant(name: &str) -> Option<MethodConfig> {
    variants().into_iter().find(|variant| variant.name == name).map(|variant| variant.config)
}

/// A method with its hyper-parameters; in files, a table with the field `method` (`hyperloader` if absent).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MethodConfig {
    /// HyperLoader, HyperFormer++ and HyperFormer.
    Hyper(HyperConfig),
    /// Hyperdecoder.
    Hyperdecoder(HyperdecoderConfig),
    /// Adapters, LoRA and UniPELT.
    Modules(ModulesConfig),
    /// Full fine-tuning.
    Full(FullConfig),
    /// UniPELT with gates and prefixes, on a BERT.
    UnipeltBert(UnipeltBertConfig),
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self::Hyper(HyperConfig::default())
    }
}

impl From<HyperConfig> for MethodConfig {
    fn from(config: HyperConfig) -> Self {
        Self::Hyper(config)
    }
}

impl From<HyperdecoderConfig> for MethodConfig {
    fn from(config: HyperdecoderConfig) -> Self {
        Self::Hyperdecoder(config)
    }
}

impl From<ModulesConfig> for MethodConfig {
    fn from(config: ModulesConfig) -> Self {
        Self::Modules(config)
    }
}

impl From<FullConfig> for MethodConfig {
    fn from(config: FullConfig) -> Self {
        Self::Full(config)
    }
}

impl From<UnipeltBertConfig> for MethodConfig {
    fn from(config: UnipeltBertConfig) -> Self {
        Self::UnipeltBert(config)
    }
}

impl MethodConfig {
    /// Reads the hyper-parameters of `method`, straight from `deserializer`, so that an error knows its place.
    ///
    /// # Errors
    /// If a field is no hyper-parameter of `method`, or has a value of the wrong type.
    pub fn read<'de, D: Deserializer<'de>>(method: Method, deserializer: D) -> Result<Self, D::Error> {
        match method {
            Method::HyperLoader | Method::HyperFormerPlusPlus | Method::HyperFormer => {
                Ok(Self::Hyper(HyperConfig::deserialize(deserializer)?.completed()))
            }
            Method::Hyperdecoder => Ok(Self::Hyperdecoder(HyperdecoderConfig::deserialize(deserializer)?)),
            Method::Adapters | Method::Lora | Method::UniPelt => {
                Ok(Self::Modules(ModulesConfig::deserialize(deserializer)?.completed()))
            }
            Method::Full => Ok(Self::Full(FullConfig::deserialize(deserializer)?)),
            Method::UnipeltBert => Ok(Self::UnipeltBert(UnipeltBertConfig::deserialize(deserializer)?)),
        }
    }

    /// The hyper-parameters as a family of methods.
    pub fn family(&self) -> &dyn MethodFamily {
        match self {
            Self::Hyper(config) => config,
            Self::Hyperdecoder(config) => config,
            Self::Modules(config) => config,
            Self::Full(config) => config,
            Self::UnipeltBert(config) => config,
        }
    }

    /// The method whose hyper-parameters these are.
    pub fn method(&self) -> Method {
        self.family().method()
    }

    /// The tensors that the method's tasks share.
    pub fn sharing(&self) -> Sharing {
        self.family().sharing()
    }

    /// The prefix of each source of `task` on a T5, by which the model knows the task: its name if all tasks share all
    /// weights, nothing otherwise (docs/reference/encodings.md#task-prefix). An encoder ignores it.
    pub fn source_prefix<'a>(&self, task: &'a str) -> &'a str {
        match self.sharing() {
            Sharing::Everything => task,
            Sharing::Embedding | Sharing::Nothing => "",
        }
    }

    /// Every tensor that training creates or changes, in a fixed order. The method fits the backbone (see
    /// [`MethodConfig::validate`]).
    pub fn trainable_tensors(
        &self,
        backbone: &dyn BackboneConfig,
        tasks: &[TaskShape],
    ) -> Vec<TrainableTensor> {
        self.family().trainable_tensors(&backbone.shape(), tasks)
    }

    /// Checks that the method runs on the backbone, and its hyper-parameters and the task names.
    ///
    /// # Errors
    /// Names the field or task and what would fit.
    pub fn validate(&self, backbone: &dyn BackboneConfig, tasks: &[TaskShape]) -> Result<(), MethodError> {
        let (method, found) = (self.method(), backbone.kind());
        if !method.runs_on(found) {
            return Err(MethodError::Backbone { method, expected: method.backbones()[0], found });
        }
        self.family().check(&backbone.shape())?;
        check_tasks(tasks)
    }
}

impl<'de> Deserialize<'de> for MethodConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = serde_json::Value::deserialize(deserializer)?;
        let method = match fields.get("method") {
            Some(name) => Method::deserialize(name).map_err(D::Error::custom)?,
            None => Method::default(),
        };
        Self::read(method, fields).map_err(D::Error::custom)
    }
}
