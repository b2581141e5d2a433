//! Adapters, LoRA and UniPELT (T5): modules that are learned as such, a set for each task (reference sections 5.2 to 5.4).

use serde::{Deserialize, Serialize};

use super::{
    Family, Init, Method, MethodConfig, MethodError, Sharing, TensorList, TrainableTensor, Variant, names,
};
use crate::backbone::t5::{Attention, Stack, T5Config};
use crate::weights::task::Activation;

/// Hyper-parameters of learned modules. A method has those that it has modules for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModulesConfig {
    /// [`Method::Adapters`], [`Method::Lora`] or [`Method::UniPelt`], which has both.
    pub method: Method,
    /// `d_model` divided by it is an adapter's bottleneck.
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
#[serde(default, deny_unknown_fields)]
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

impl From<ModulesConfig> for MethodConfig {
    fn from(config: ModulesConfig) -> Self {
        Self::Modules(config)
    }
}

pub(super) fn variants() -> Vec<Variant> {
    let published = |method: Method| {
        let config = ModulesConfig { method, ..ModulesConfig::default() }.completed();
        Variant { name: method.name(), config: config.into() }
    };
    [Method::Adapters, Method::Lora, Method::UniPelt].map(published).into()
}

impl ModulesConfig {
    /// With the published values of what is left open.
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

    /// Bottleneck of an adapter, `d_model / reduction_factor`; `None` without adapters.
    pub fn bottleneck(&self, t5: &T5Config) -> Option<usize> {
        Some(t5.d_model / self.reduction_factor?.max(1))
    }

    /// Adapters behind self-attention and feed-forward layers: N(0, 0.02²), biases 0 (reference section 5.2).
    fn adapters(&self, t5: &T5Config, task: &str, list: &mut TensorList) {
        let Some(b) = self.bottleneck(t5) else { return };
        let init = Init::Normal { std: 0.02 };
        for stack in Stack::BOTH {
            for block in 0..t5.layers(stack) {
                for layer in [0, Attention::of(stack).len()] {
                    let name = |part| names::of_task(task, &names::adapter(stack, block, layer, part));
                    list.linear(&name("down"), [b, t5.d_model], init);
                    list.linear(&name("up"), [t5.d_model, b], init);
                }
            }
        }
    }

    /// A pair on the queries and one on the values of every attention: A Kaiming-uniform, B zero (reference section 5.3).
    fn pairs(&self, t5: &T5Config, task: &str, list: &mut TensorList) {
        let Some(PairConfig { rank, .. }) = self.lora else { return };
        let bound = super::kaiming(t5.d_model);
        for stack in Stack::BOTH {
            for block in 0..t5.layers(stack) {
                for kind in Attention::of(stack) {
                    for projection in ["q", "v"] {
                        let name = |matrix| {
                            names::of_task(task, &names::lora(stack, block, *kind, projection, matrix))
                        };
                        list.add(name("a"), &[rank, t5.d_model], Init::Uniform { bound });
                        list.add(name("b"), &[t5.inner_dim(), rank], Init::Zeros);
                    }
                }
            }
        }
    }
}

impl Family for ModulesConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Nothing
    }

    fn trainable_tensors(&self, t5: &T5Config, tasks: &[String]) -> Vec<TrainableTensor> {
        let mut list = TensorList(Vec::new());
        for task in tasks {
            self.adapters(t5, task, &mut list);
            self.pairs(t5, task, &mut list);
        }
        list.0
    }

    fn check(&self, t5: &T5Config) -> Result<(), MethodError> {
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
            super::check_reduction(*factor, t5)?;
        }
        lora.as_ref().map_or(Ok(()), |lora| super::check_lora(lora.rank, lora.alpha, t5))
    }
}
