//! The backbone that a run was trained on.

use std::path::{Path, PathBuf};

use super::error::RunError;
use super::folder::{Run, check_hash, compare_hashes};
use super::manifest::HubReference;
use crate::backbone::registry::{self, OpenOptions};
use crate::backbone::{Backbone, CONFIG};

impl Run {
    /// Opens the backbone that the run was trained on (or the folder `instead`, if it has moved) and compares its hashes
    /// and its configuration with the manifest.
    ///
    /// # Errors
    /// If it is missing, unusable, or another one.
    pub fn backbone(&self, instead: Option<&Path>) -> Result<Box<dyn Backbone>, RunError> {
        let backbone = self.open_backbone(&self.backbone_folder(instead)?)?;
        let reference = &self.manifest.backbone;
        compare_hashes(backbone.weights().path(), backbone.hash()?, &reference.sha256)?;
        check_hash(&backbone.tokenizer(), &reference.tokenizer_sha256)?;
        self.check_config(&*backbone)?;
        Ok(backbone)
    }

    /// Opens `folder` as the run's backbone, without comparing hashes.
    ///
    /// # Errors
    /// If it is missing, unusable, or of another kind than the one that the run was trained on.
    pub fn open_backbone(&self, folder: &Path) -> Result<Box<dyn Backbone>, RunError> {
        let kind = self.manifest.backbone_config().kind();
        let bias = self.manifest.t5().is_ok_and(|t5| t5.cross_attention_relative_bias);
        let options = OpenOptions {
            purpose: &format!("run `{}` was trained on", self.manifest.name),
            hint: "name the backbone that the run was trained on, or a copy of it",
            kinds: &[kind],
            cross_attention_relative_bias: bias,
        };
        Ok(registry::open(folder, &options)?)
    }

    fn backbone_folder(&self, instead: Option<&Path>) -> Result<PathBuf, RunError> {
        let reference = &self.manifest.backbone;
        let folder = match instead {
            Some(folder) => folder.to_owned(),
            None => self.folder.join(&reference.path),
        };
        if let (None, Some(HubReference { id, commit }), false) = (instead, &reference.hub, folder.is_dir()) {
            return Err(RunError::NotCached { folder, id: id.clone(), commit: commit.clone() });
        }
        Ok(folder)
    }

    /// Hashes do not cover `config.json`.
    fn check_config(&self, backbone: &dyn Backbone) -> Result<(), RunError> {
        let (found, trained) = (backbone.config().fields(), self.manifest.backbone_config().fields());
        let fields = trained.as_object().into_iter().flatten();
        match fields.into_iter().find(|(field, value)| found[field.as_str()] != **value) {
            None => Ok(()),
            Some((field, value)) => Err(RunError::Config {
                path: backbone.folder().join(CONFIG),
                field: field.clone(),
                found: found[field.as_str()].to_string(),
                trained: value.to_string(),
            }),
        }
    }
}
