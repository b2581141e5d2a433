//! Creates the token classifiers of a run's tasks.

use std::path::PathBuf;

use hyperloader_core::backbone::bert::BertBackbone;
use hyperloader_core::run::{Run, Task};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::weights::tensors::Tensors;

use super::model::BertModel;
use crate::error::{ExportError, ModelError};
use crate::exportable::{Exportable, Models};

/// The models of a run on a BERT.
#[derive(Debug)]
pub(crate) struct BertModels {
    folder: PathBuf,
}

impl BertModels {
    /// The models on the backbone in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl Models for BertModels {
    fn model(&self, run: &Run, tensors: &Tensors, task: &Task) -> Result<Box<dyn Exportable>, ExportError> {
        let backbone = BertBackbone::open(&self.folder).map_err(ModelError::from)?;
        let tags = bio_tags(&task.labels).len();
        let model = BertModel::new(backbone, &run.manifest.method, tensors, &task.name, tags)?;
        model.check_folds()?;
        Ok(Box::new(model))
    }
}
