//! Full fine-tuning: all of the backbone is trained (docs/reference/baselines.md#full-fine-tuning).

use serde::{Deserialize, Serialize};

use super::error::MethodError;
use super::family::{MethodFamily, Sharing, TaskShape, add_classifier};
use super::kind::Method;
use super::tensors::{Init, TensorList, TrainableTensor};
use crate::backbone::shape::BackboneShape;

/// Fine-tuning has no hyper-parameters of its own.
///
/// All tasks share one backbone: text-to-text models are made to tell tasks apart by a prefix (Raffel et al. 2020,
/// section 2.4), and a backbone for each task would multiply the run's size. On an encoder each task has a classifier and
/// no prefix. A run of one task is single-task fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of hyper-parameters")]
pub struct FullConfig {
    /// [`Method::Full`].
    pub method: Method,
}

impl Default for FullConfig {
    fn default() -> Self {
        Self { method: Method::Full }
    }
}

pub(super) fn variants() -> Vec<(&'static str, FullConfig)> {
    vec![("full", FullConfig::default())]
}

impl MethodFamily for FullConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Everything
    }

    /// Every tensor of the backbone, and the classifiers of an encoder. An output layer that is tied to the embedding stays
    /// tied.
    fn trainable_tensors(&self, shape: &BackboneShape, tasks: &[TaskShape]) -> Vec<TrainableTensor> {
        let mut list = TensorList::default();
        for (name, dimensions) in &shape.tensors {
            list.add(name.clone(), dimensions, Init::Backbone);
        }
        for task in tasks {
            add_classifier(shape, task, &mut list);
        }
        list.0
    }

    fn check(&self, _shape: &BackboneShape) -> Result<(), MethodError> {
        Ok(())
    }
}
