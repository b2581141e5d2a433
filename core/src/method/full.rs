//! All of T5 trained: the usual yardstick.

use serde::{Deserialize, Serialize};

use super::{Family, Init, Method, MethodConfig, MethodError, Sharing, TensorList, TrainableTensor, Variant};
use crate::backbone::t5::T5Config;

/// Fine-tuning has no hyper-parameters of its own.
///
/// All tasks share the one T5: a copy for each would be as large as all of them together are otherwise, and text-to-text
/// models are made to tell tasks apart by a prefix (Raffel et al. 2020, section 2.4). A run of one task is single-task
/// fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullConfig {
    /// [`Method::Full`].
    pub method: Method,
}

impl Default for FullConfig {
    fn default() -> Self {
        Self { method: Method::Full }
    }
}

impl From<FullConfig> for MethodConfig {
    fn from(config: FullConfig) -> Self {
        Self::Full(config)
    }
}

pub(super) fn variants() -> Vec<Variant> {
    vec![Variant { name: "full", config: FullConfig::default().into() }]
}

impl Family for FullConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Everything
    }

    /// Every tensor of the backbone; a head that is tied to the embedding stays so.
    fn trainable_tensors(&self, t5: &T5Config, _tasks: &[String]) -> Vec<TrainableTensor> {
        let mut list = TensorList(Vec::new());
        for (name, shape) in t5.tensors() {
            list.add(name, &shape, Init::Backbone);
        }
        list.0
    }

    fn check(&self, _t5: &T5Config) -> Result<(), MethodError> {
        Ok(())
    }
}
