//! A run's folder: `manifest.json`, `config.toml`, `checkpoints/step-N.safetensors` with the optimizer's state beside the
//! latest, `drafters.safetensors`, `calibration.json`, `metrics.jsonl`.
//!
//! The files of a checkpoint are complete on disk before the manifest names them, and the manifest is replaced in one
//! rename. A run that is interrupted at any instant is left at its previous checkpoint.
//!
//! - [`manifest`]: the contents of `manifest.json`
//! - [`folder`]: [`Run`], the folder with its manifest
//! - [`checkpoints`]: checkpoints written, chosen and read, and the point to resume from
//! - [`retention`]: which checkpoints are kept
//! - [`drafters`]: the drafters of the tasks
//! - [`calibration`]: the calibration of the tasks' scores
//! - [`backbone`]: the backbone that the run was trained on
//! - [`lock`]: one training at a time writes to a run
//! - [`discovery`]: runs found in a folder of runs
//! - [`error`]: what can be wrong

pub mod backbone;
pub mod calibration;
pub mod checkpoints;
pub mod discovery;
pub mod drafters;
pub mod error;
pub mod folder;
pub mod lock;
pub mod manifest;
pub mod retention;

pub use self::calibration::{Change, RunCalibration, TaskCalibration};
pub use self::checkpoints::{ResumePoint, Snapshot, Which};
pub use self::discovery::Candidates;
pub use self::error::RunError;
pub use self::folder::{CONFIG, Run};
pub use self::manifest::{BackboneReference, Checkpoint, FORMAT, HubReference, Manifest, StateFile, Task};

#[cfg(test)]
mod tests;
