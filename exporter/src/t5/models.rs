//! Creates the T5 models of a run's tasks.

use std::path::PathBuf;

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::t5::{T5Backbone, T5Config};
use hyperloader_core::run::{Run, Task};
use hyperloader_core::weights::tensors::Tensors;

use super::model::T5Model;
use crate::error::{ExportError, ModelError};
use crate::exportable::{Exportable, Models};
use crate::materialise::task_weights;

/// The models of a run on a T5.
#[derive(Debug)]
pub(crate) struct T5Models {
    folder: PathBuf,
    config: T5Config,
}

impl T5Models {
    /// The models on the backbone in `folder`, which has the dimensions `config`.
    pub(crate) fn new(folder: PathBuf, config: T5Config) -> Self {
        Self { folder, config }
    }

    /// The model of `task` with the tensors of a checkpoint, and with the task's drafter if there is one.
    ///
    /// # Errors
    /// Returns an error if the task's weights cannot be computed, or the backbone or the drafter is unusable.
    pub(crate) fn t5_model(&self, run: &Run, tensors: &Tensors, task: &Task) -> Result<T5Model, ExportError> {
        let weights = task_weights(&run.manifest.method, &self.config.shape(), tensors, &task.name)
            .map_err(ModelError::from)?;
        let names = self.config.tensors().into_keys();
        let trained = names.filter_map(|name| Some((name.clone(), tensors.get(&name)?.clone())));
        let backbone = T5Backbone::open(&self.folder, self.config.cross_attention_relative_bias)
            .map_err(ModelError::from)?;
        Ok(T5Model::new(backbone, trained.collect(), weights).with_drafter(run.drafter(task)?))
    }
}

impl Models for T5Models {
    fn model(&self, run: &Run, tensors: &Tensors, task: &Task) -> Result<Box<dyn Exportable>, ExportError> {
        let model = self.t5_model(run, tensors, task)?;
        model.check_folds()?;
        Ok(Box::new(model))
    }
}
