//! Checkpoints: written, chosen and read, and the point from which a training resumes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::RunError;
use super::folder::{CHECKPOINTS, OPTIMIZER, Run, check_hash};
use super::manifest::{Checkpoint, MANIFEST, StateFile};
use crate::files::sha256;
use crate::weights::tensors::{TensorFile, Tensors, write_tensors};

/// A checkpoint to be written.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Number of updates done.
    pub step: u64,
    /// The trainable tensors.
    pub tensors: &'a Tensors,
    /// The optimizer's state, if the run is to be resumed.
    pub state: Option<&'a Tensors>,
    /// Label-smoothed validation loss in nats per target token, by task; empty if not evaluated. A loss that is not finite is
    /// not stored. If one of them is not, the checkpoint has no mean loss, so it is the best one only if no checkpoint has.
    pub losses: BTreeMap<String, f64>,
}

/// The point from which an interrupted training resumes.
#[derive(Debug)]
pub struct ResumePoint {
    /// Number of updates done.
    pub step: u64,
    /// The trainable tensors.
    pub tensors: Tensors,
    /// The optimizer's state.
    pub state: Tensors,
    /// Why later checkpoints are not used.
    pub passed_over: Vec<RunError>,
}

/// Which checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Lowest mean validation loss per token. The latest if no checkpoint has one: none was evaluated, or a loss was not finite
    /// in each evaluation. `training.patience` counts from the best checkpoint, so in the second case it never ends a training.
    Best,
    /// Lowest validation loss of one task (the latest if no checkpoint has one).
    BestOf(&'a str),
    /// Most updates.
    Last,
}

impl Run {
    /// The entry of a checkpoint.
    ///
    /// # Errors
    /// If the run has none.
    pub fn checkpoint(&self, which: Which<'_>) -> Result<&Checkpoint, RunError> {
        let all = &self.manifest.checkpoints;
        let last = all.iter().max_by_key(|c| c.step);
        let lowest = |loss: &dyn Fn(&Checkpoint) -> Option<f64>| {
            let evaluated = all.iter().filter_map(|c| Some((loss(c)?, c)));
            evaluated.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c)
        };
        match which {
            Which::Best => lowest(&|c| c.validation_loss).or(last),
            Which::BestOf(task) => lowest(&|c| c.task_losses.get(task).copied()).or(last),
            Which::Last => last,
        }
        .ok_or_else(|| RunError::NoCheckpoint(self.folder.clone()))
    }

    /// Reads a checkpoint's tensors, after comparing its hash, the hash of its method and the tensors' names and shapes with the manifest.
    ///
    /// # Errors
    /// If the file is missing, damaged, does not belong to the method and backbone of the manifest, or holds numbers that are
    /// not finite.
    pub fn read(&self, checkpoint: &Checkpoint) -> Result<Tensors, RunError> {
        let path = self.folder.join(&checkpoint.file);
        if !checkpoint.method_sha256.is_empty() && checkpoint.method_sha256 != self.manifest.method_hash() {
            return Err(RunError::OtherMethod { path, manifest: self.folder.join(MANIFEST) });
        }
        check_hash(&path, &checkpoint.sha256)?;
        let file = TensorFile::open(&path)?;
        let expected = self.manifest.trainable_tensors()?;
        file.check(&expected.into_iter().map(|t| (t.name, t.shape)).collect(), &[])?;
        file.check_finite(file.shapes().keys().map(String::as_str))?;
        Ok(file.read_all()?)
    }

    /// Adds a checkpoint. Kept are the last `keep_last` (at least one), with their optimizer's states, the best by mean
    /// validation loss, and the best of each task.
    ///
    /// # Errors
    /// Any error of the file system; the run then stays at its previous checkpoint.
    pub fn save(&mut self, snapshot: &Snapshot<'_>, keep_last: usize) -> Result<(), RunError> {
        let Snapshot { step, tensors, state, losses } = snapshot;
        let write = |suffix: &str, tensors: &Tensors| -> Result<StateFile, RunError> {
            let file = PathBuf::from(CHECKPOINTS).join(format!("step-{step:06}{suffix}.safetensors"));
            let path = self.folder.join(&file);
            write_tensors(&path, tensors)?;
            Ok(StateFile { file, sha256: sha256(&path)? })
        };
        let StateFile { file, sha256 } = write("", tensors)?;
        let state = state.map(|state| write(OPTIMIZER, state)).transpose()?;
        let mean = losses.values().sum::<f64>() / losses.len() as f64;
        // JSON has no form for other numbers.
        let validation_loss = Some(mean).filter(|mean| mean.is_finite());
        let finite = losses.iter().filter(|(_, loss)| loss.is_finite());
        let entry = Checkpoint {
            step: *step,
            file,
            sha256,
            method_sha256: self.manifest.method_hash(),
            validation_loss,
            task_losses: finite.map(|(task, loss)| (task.clone(), *loss)).collect(),
            state,
        };
        self.manifest.checkpoints.retain(|c| c.step != *step);
        self.manifest.checkpoints.push(entry);
        self.drop_superseded(keep_last);
        self.write_manifest()?;
        self.sweep()
    }

    /// Goes back to the latest checkpoint that is whole and has its optimizer's state; later ones are forgotten.
    ///
    /// # Errors
    /// If no checkpoint is usable: the reason is that of the latest.
    pub fn resume(&mut self) -> Result<ResumePoint, RunError> {
        let mut candidates: Vec<Checkpoint> =
            self.manifest.checkpoints.iter().filter(|c| c.state.is_some()).cloned().collect();
        candidates.sort_by_key(|c| c.step);
        let mut passed_over = Vec::new();
        while let Some(checkpoint) = candidates.pop() {
            match self.read(&checkpoint).and_then(|t| Ok((t, self.read_state(&checkpoint)?))) {
                Ok((tensors, state)) => {
                    let step = checkpoint.step;
                    self.manifest.checkpoints.retain(|c| c.step <= step);
                    self.write_manifest()?;
                    self.sweep()?;
                    return Ok(ResumePoint { step, tensors, state, passed_over });
                }
                Err(error) => passed_over.push(error),
            }
        }
        match passed_over.into_iter().next() {
            Some(error) => Err(error),
            None => Err(RunError::NoState(self.folder.clone())),
        }
    }

    fn read_state(&self, checkpoint: &Checkpoint) -> Result<Tensors, RunError> {
        let Some(StateFile { file, sha256 }) = &checkpoint.state else {
            return Err(RunError::NoState(self.folder.clone()));
        };
        let path = self.folder.join(file);
        check_hash(&path, sha256)?;
        Ok(TensorFile::open(&path)?.read_all()?)
    }
}
