//! The trait that receives the progress of a training.

use std::ops::ControlFlow;
use std::path::Path;

use hyperloader_core::run::{Run, TaskCalibration};

use crate::data::{ReadProgress, TaskData};
use crate::evaluate::Evaluation;
use crate::record::Step;

/// Receives the progress of a training. The training itself prints nothing.
pub trait Observer {
    /// The files of a streamed task are read, before [`Observer::started`]. The training ends with an error where this breaks.
    fn reading(&mut self, _progress: &ReadProgress<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// The corpora are loaded and the run folder exists. `trainable` is the number of trainable parameters; `done` is the
    /// number of updates before the run was interrupted.
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize, done: u64);
    /// Something is wrong that the training can continue without.
    fn warned(&mut self, warning: &str);
    /// Something about the start of the training.
    fn noted(&mut self, _note: &str) {}
    /// An update is done.
    fn stepped(&mut self, step: &Step);
    /// The validation split of a task is evaluated.
    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation);
    /// The updates are done, and a checkpoint of the last one, `step`, is in the folder `run`. From now on, the training does
    /// not look whether it is asked to stop; if it is cut off, the run can be resumed from this checkpoint.
    fn finishing(&mut self, _run: &Path, _step: u64) {}
    /// The drafter of a task is fitted.
    fn drafter_fitted(&mut self, _task: &str) {}
    /// The scores of a task are calibrated, or its validation sentences are too few.
    fn calibrated(&mut self, _task: &str, _calibration: Option<&TaskCalibration>) {}
}

/// Receives the progress of a training that nobody follows.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn started(&mut self, _: &Run, _: &[TaskData], _: usize, _: u64) {}
    fn warned(&mut self, _: &str) {}
    fn stepped(&mut self, _: &Step) {}
    fn evaluated(&mut self, _: u64, _: &str, _: &Evaluation) {}
}
