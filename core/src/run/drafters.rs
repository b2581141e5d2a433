//! The drafters of a run's tasks.

use std::path::PathBuf;

use super::error::RunError;
use super::folder::{Run, check_hash};
use super::manifest::{StateFile, Task};
use crate::files::sha256;
use crate::text::drafter::Drafter;
use crate::weights::tensors::{TensorFile, Tensors, write_tensors};

const DRAFTERS: &str = "drafters.safetensors";

impl Run {
    /// Stores the tasks' drafters (see [`crate::text::drafter::names`]), replacing earlier ones.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn save_drafters(&mut self, tensors: &Tensors) -> Result<(), RunError> {
        let file = PathBuf::from(DRAFTERS);
        let path = self.folder.join(&file);
        write_tensors(&path, tensors)?;
        self.manifest.drafters = Some(StateFile { file, sha256: sha256(&path)? });
        self.write_manifest()
    }

    /// The drafter of a task, if one was fitted.
    ///
    /// # Errors
    /// If the file of drafters is missing, damaged, or does not fit the task.
    pub fn drafter(&self, task: &Task) -> Result<Option<Drafter>, RunError> {
        let Some(StateFile { file, sha256 }) = &self.manifest.drafters else { return Ok(None) };
        let path = self.folder.join(file);
        check_hash(&path, sha256)?;
        let tensors = TensorFile::open(&path)?.read_all()?;
        Drafter::from_tensors(
            &tensors,
            &task.name,
            task.labels.len(),
            self.manifest.backbone_config().shape().width,
        )
        .map_err(|source| RunError::Drafter { path, source })
    }
}
