//! What process 0 reads from the run folder and sends to the others.

use hyperloader_core::causes::with_causes;
use hyperloader_core::run::{ResumePoint, Run, RunError, Which};
use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::shared_tensors::SharedTensors;
use crate::record::log;

/// What process 0 reads from a run that is resumed.
#[derive(Serialize, Deserialize)]
pub(super) struct Resumed {
    /// The number of updates so far.
    pub(super) step: u64,
    /// Seconds of training so far.
    pub(super) seconds: f64,
    pub(super) tensors: SharedTensors,
    /// That of the optimizer.
    pub(super) state: SharedTensors,
    pub(super) warnings: Vec<String>,
}

impl Resumed {
    pub(super) fn read(run: &mut Run) -> Result<Self, TrainError> {
        let ResumePoint { step, tensors, state, passed_over } = run.resume()?;
        let warning = |error| format!("{}; training continues from step {step}", with_causes(error));
        Ok(Self {
            step,
            seconds: log::cut(&run.folder, step)?,
            tensors: SharedTensors(tensors),
            state: SharedTensors(state),
            warnings: passed_over.iter().map(|error| warning(error)).collect(),
        })
    }
}

/// The best checkpoint of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) step: u64,
    pub(super) sha256: String,
    pub(super) tensors: SharedTensors,
}

impl Best {
    pub(super) fn read(run: &Run) -> Result<Self, RunError> {
        let best = run.checkpoint(Which::Best)?;
        let tensors = SharedTensors(run.read(best)?);
        Ok(Self { step: best.step, sha256: best.sha256.clone(), tensors })
    }
}
