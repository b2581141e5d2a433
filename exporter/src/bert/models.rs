//! Creates the token classifiers of a run's tasks.

use std::path::{Path, PathBuf};

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::run::{Run, Task};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::weights::tensors::Tensors;

use super::model::BertModel;
use crate::config::check_config;
use crate::error::{ExportError, ModelError};
use crate::exportable::{Exportable, Models};

/// The models of a run on a BERT.
#[derive(Debug)]
pub(crate) struct BertModels {
    /// Folder of the backbone.
    folder: PathBuf,
}

impl BertModels {
    /// Opens the backbone of `run`, or the one in `folder` if it was moved, and compares it with `trained`, the
    /// configuration in the run's manifest.
    ///
    /// # Errors
    /// Returns an error if the backbone is missing, damaged or another one.
    pub(crate) fn open(run: &Run, folder: Option<&Path>, trained: &BertConfig) -> Result<Self, ExportError> {
        let BertBackbone { folder, config, .. } = run.bert_backbone(folder)?;
        // Dropout has no effect on an export, and training may have used another one.
        let found = BertConfig {
            hidden_dropout_prob: trained.hidden_dropout_prob,
            attention_probs_dropout_prob: trained.attention_probs_dropout_prob,
            ..config
        };
        check_config(&folder, &found, trained)?;
        Ok(Self { folder })
    }
}

impl Models for BertModels {
    fn model(&self, run: &Run, tensors: &Tensors, task: &Task) -> Result<Box<dyn Exportable>, ExportError> {
        let backbone = BertBackbone::open(&self.folder).map_err(ModelError::from)?;
        let method = run.manifest.method.unipelt_bert()?.clone();
        let tags = bio_tags(&task.labels).len();
        Ok(Box::new(BertModel::new(backbone, method, tensors.clone(), &task.name, tags)))
    }
}
