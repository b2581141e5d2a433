//! Runs found in a folder of runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::RunError;
use super::folder::Run;
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
    /// The run under `runs` whose manifest was written last, among these candidates.
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

/// Folders of runs, the one whose manifest was written last first.
fn by_age(runs: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let written = fs::metadata(entry.path().join(MANIFEST)).ok()?.modified().ok()?;
            Some((written, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}
