//! The calibration of a run's tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::folder::{Run, check_hash};
use super::manifest::{Checkpoint, StateFile};
use crate::calibration::Calibration;
use crate::calibration::reliability::Reliability;
use crate::files::{read_text, sha256, write_atomic};

const CALIBRATION: &str = "calibration.json";

/// The contents of `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCalibration {
    /// SHA-256 of the checkpoint whose scores are calibrated.
    pub checkpoint_sha256: String,
    /// Its tasks. A task with too few validation sentences is left out.
    pub tasks: BTreeMap<String, TaskCalibration>,
}

/// The calibration of a task, and how reliable its scores are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskCalibration {
    /// The part that is exported.
    pub calibration: Calibration,
    /// Number of validation sentences in the half that the temperature (at most 500 of them) and the maps were fitted on.
    pub fitted_on: usize,
    /// Number of validation sentences that the reliability was counted on: all, each with the scores of a fit on the half that it
    /// is not in. In older files, those of the other half.
    pub tested_on: usize,
    /// Reliability of these sentences' tags without calibration.
    pub before: Reliability,
    /// Reliability of these sentences' tags with calibration.
    pub after: Reliability,
    /// The same of the sentences; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Change>,
}

/// Reliability without and with calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Without calibration.
    pub before: Reliability,
    /// With calibration.
    pub after: Reliability,
}

impl Run {
    /// Stores the calibration of the tasks, replacing an earlier one.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn save_calibration(&mut self, calibration: &RunCalibration) -> Result<(), RunError> {
        let file = PathBuf::from(CALIBRATION);
        let path = self.folder.join(&file);
        let text = serde_json::to_string(calibration)
            .map_err(|source| RunError::Calibration { path: path.clone(), source })?;
        write_atomic(&path, |w| writeln!(w, "{text}"))?;
        self.manifest.calibration = Some(StateFile { file, sha256: sha256(&path)? });
        self.write_manifest()
    }

    /// The calibration of the tasks, if there is one.
    ///
    /// # Errors
    /// If its file is missing or damaged.
    pub fn calibration(&self) -> Result<Option<RunCalibration>, RunError> {
        let Some(StateFile { file, sha256 }) = &self.manifest.calibration else { return Ok(None) };
        let path = self.folder.join(file);
        check_hash(&path, sha256)?;
        let calibration = serde_json::from_str(&read_text(&path)?);
        calibration.map(Some).map_err(|source| RunError::Calibration { path, source })
    }

    /// The tasks whose calibration is that of the weights of `checkpoint`. None if the run was calibrated with other weights.
    ///
    /// # Errors
    /// As [`Run::calibration`].
    pub fn calibrated_tasks(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<BTreeMap<String, TaskCalibration>, RunError> {
        let of_checkpoint = |all: &RunCalibration| all.checkpoint_sha256 == checkpoint.sha256;
        Ok(self.calibration()?.filter(of_checkpoint).map(|all| all.tasks).unwrap_or_default())
    }

    /// The calibration of a task's scores with the weights of `checkpoint`, if there is one.
    ///
    /// # Errors
    /// As [`Run::calibration`].
    pub fn calibration_of(
        &self,
        task: &str,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Calibration>, RunError> {
        Ok(self.calibrated_tasks(checkpoint)?.remove(task).map(|task| task.calibration))
    }
}
