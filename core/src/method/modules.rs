//! Adapters, LoRA and UniPELT: modules that are trained directly, one set for each task
//! (docs/reference/baselines.md#adapters, docs/reference/baselines.md#lora and
//! docs/reference/baselines.md#unipelt-on-t5).

use serde::{Deserialize, Serialize};

use super::error::MethodError;
use super::family::{MethodFamily, Sharing, TaskShape, add_classifier, check_lora, check_reduction};
use super::kind::Method;
use super::names;
use super::tensors::{Init, TensorList, TrainableTensor, kaiming};
use crate::backbone::shape::BackboneShape;
use crate::weights::task::Activation;

/// Hyper-parameters of the modules. A method has those of the modules that it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of hyper-parameters")]
pub struct ModulesConfig {
    /// [`Method::Adapters`], [`Method::Lora`] or [`Method::UniPelt`], which has both.
    pub method: Method,
    /// The width of the hidden states divided by this is an adapter's bottleneck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction_factor: Option<usize>,
    /// Non-linearity of the adapters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// LoRA pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<PairConfig>,
}

/// Hyper-parameters of learned LoRA pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `rank`, `alpha`")]
pub struct PairConfig {
    /// Rank r.
    pub rank: usize,
    /// The product `B A` is multiplied by `alpha / rank`.
    pub alpha: f64,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 8.0 }
    }
}

impl PairConfig {
    /// Factor of `B A`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

impl Default for ModulesConfig {
    fn default() -> Self {
        Self { method: Method::Adapters, reduction_factor: None, activation: None, lora: None }
    }
}

pub(super) fn variants() -> Vec<(&'static str, ModulesConfig)> {
    let published =
        |method: Method| (method.name(), ModulesConfig { method, ..ModulesConfig::default() }.completed());
    [Method::Adapters, Method::Lora, Method::UniPelt].map(published).into()
}

impl ModulesConfig {
    /// Fills in the published values of fields that are absent.
    pub fn completed(mut self) -> Self {
        if self.has_adapters() {
            self.reduction_factor.get_or_insert(16);
            self.activation.get_or_insert(Activation::Swish);
        }
        if self.has_lora() {
            self.lora.get_or_insert_default();
        }
        self
    }

    /// Whether the method has adapters.
    pub fn has_adapters(&self) -> bool {
        self.method != Method::Lora
    }

    /// Whether the method has LoRA.
    pub fn has_lora(&self) -> bool {
        self.method != Method::Adapters
    }

    /// Bottleneck of an adapter on hidden states of `width`: `width / reduction_factor`; `None` without adapters.
    pub fn bottleneck(&self, width: usize) -> Option<usize> {
        Some(width / self.reduction_factor?.max(1))
    }

    /// Adapters after self-attention and feed-forward layers: N(0, 0.02²), biases 0
    /// (docs/reference/baselines.md#adapters).
    fn adapters(&self, shape: &BackboneShape, task: &str, list: &mut TensorList) {
        let Some(b) = self.bottleneck(shape.width) else { return };
        let init = Init::Normal { std: 0.02 };
        for site in shape.adapters() {
            let name = |part| names::of_task(task, &names::adapter(&site.module, part));
            list.linear(&name("down"), [b, site.input], init);
            list.linear(&name("up"), [site.output, b], init);
        }
    }

    /// A pair on the queries and one on the values of every attention: A Kaiming-uniform, B zero
    /// (docs/reference/baselines.md#lora).
    fn pairs(&self, shape: &BackboneShape, task: &str, list: &mut TensorList) {
        let Some(PairConfig { rank, .. }) = self.lora else { return };
        for site in shape.loras() {
            let name = |matrix| names::of_task(task, &names::lora(&site.module, matrix));
            list.add(name("a"), &[rank, site.input], Init::Uniform { bound: kaiming(site.input) });
            list.add(name("b"), &[site.output, rank], Init::Zeros);
        }
    }
}

impl MethodFamily for ModulesConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Nothing
    }

    fn trainable_tensors(&self, shape: &BackboneShape, tasks: &[TaskShape]) -> Vec<TrainableTensor> {
        let mut list = TensorList::default();
        for task in tasks {
            self.adapters(shape, &task.name, &mut list);
            self.pairs(shape, &task.name, &mut list);
            add_classifier(shape, task, &mut list);
        }
        list.0
    }

    fn check(&self, shape: &BackboneShape) -> Result<(), MethodError> {
        let Self { method, reduction_factor, activation, lora } = self;
        let present = [
            ("reduction_factor", reduction_factor.is_some(), self.has_adapters(), "adapters"),
            ("activation", activation.is_some(), self.has_adapters(), "adapters"),
            ("lora", lora.is_some(), self.has_lora(), "LoRA"),
        ];
        for (field, there, wanted, module) in present {
            if there != wanted {
                let (value, expected) = match there {
                    true => ("present", format!("none: `{method}` has no {module}")),
                    false => ("absent", format!("a value: `{method}` has {module}")),
                };
                return Err(MethodError::Value { field, value: value.to_owned(), expected });
            }
        }
        if let Some(factor) = reduction_factor {
            check_reduction("reduction_factor", *factor, shape)?;
        }
        lora.as_ref().map_or(Ok(()), |lora| check_lora(lora.rank, lora.alpha, shape))
    }
}
