//! Trainings in this process that stop after a given update.

use std::sync::atomic::{AtomicBool, Ordering};

use hyperloader_core::run::Run;
use hyperloader_trainer::data::TaskData;
use hyperloader_trainer::evaluate::Evaluation;
use hyperloader_trainer::train::{End, Observer, Step, TrainError, Training};

/// Asks the training to stop after an update, and hands on its warnings.
struct StopAfter<'a, W> {
    update: u64,
    stop: &'a AtomicBool,
    warned: W,
}

impl<W: FnMut(&str)> Observer for StopAfter<'_, W> {
    fn started(&mut self, _: &Run, _: &[TaskData], _: usize, _: u64) {}

    fn warned(&mut self, warning: &str) {
        (self.warned)(warning);
    }

    fn stepped(&mut self, step: &Step) {
        self.stop.store(step.step == self.update, Ordering::Relaxed);
    }

    fn evaluated(&mut self, _: u64, _: &str, _: &Evaluation) {}
}

/// Trains until the update with this number is done, or to the end if there are fewer. `warned` gets the warnings.
///
/// # Errors
/// As [`Training::run`].
pub fn train_until(training: Training, update: u64, warned: impl FnMut(&str)) -> Result<End, TrainError> {
    let stop = AtomicBool::new(false);
    training.run(&mut StopAfter { update, stop: &stop, warned }, &stop)
}
