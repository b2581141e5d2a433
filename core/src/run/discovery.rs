//! Runs found in a folder of runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::RunError;
use super::folder::{CHECKPOINTS, Run};
use super::manifest::MANIFEST;

/// Which runs [`Run::newest`] considers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// Those that were trained for at least one step.
    Trained,
    /// All, also those that were only created.
    Any,
}

impl Run {
    /// The run under `runs` that was trained last, among these candidates: the one whose latest checkpoint was written last.
    /// What is added to a run later, such as a calibration, does not make it newer.
    ///
    /// # Errors
    /// If there is none, or it is unreadable.
    pub fn newest(runs: &Path, candidates: Candidates) -> Result<Self, RunError> {
        for folder in by_age(runs) {
            let run = Self::open(&folder)?;
            if candidates == Candidates::Any || run.manifest.checkpoints.iter().any(|c| c.step > 0) {
                return Ok(run);
            }
        }
        Err(RunError::NoRuns(runs.to_owned()))
    }
}

/// Folders of runs, the one that was trained last first.
fn by_age(runs: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = files_in(runs)
        .filter_map(|folder| {
            let manifest = written(&folder.join(MANIFEST))?;
            let checkpoints = files_in(&folder.join(CHECKPOINTS)).filter_map(|file| written(&file));
            Some((checkpoints.max().unwrap_or(manifest), folder))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// Paths of what is in `folder`; none if it cannot be read.
fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn written(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
