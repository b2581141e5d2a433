//! A run of a comparison: trained or resumed, then scored.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hyperloader_core::run::Run;

use super::error::CompareError;
use super::plan::{Cell, samples};
use super::results::Scores;
use crate::train::{End, Observer, Training};

/// How a run of a comparison ended.
#[derive(Debug)]
pub enum CellEnd {
    /// It is trained, and these are its scores.
    Done(Scores),
    /// It was asked to stop and saved a checkpoint.
    Stopped {
        /// The number of updates so far.
        step: u64,
    },
}

impl Cell<'_> {
    /// Whether the run is trained and its scores are written.
    pub fn is_done(&self, out: &Path) -> bool {
        Scores::path(&self.folder(out)).is_file()
    }

    /// Trains the run, or resumes it if it was interrupted, and writes its scores.
    ///
    /// # Errors
    /// If it cannot be trained, or a file cannot be written.
    pub fn run(
        &self,
        out: &Path,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<CellEnd, CompareError> {
        let folder = self.folder(out);
        let config = self.config(out);
        let samples = samples(&config);
        match Training::prepare_or_resume(config, observer)?.run(observer, stop)? {
            End::Stopped { step, .. } => Ok(CellEnd::Stopped { step }),
            End::Finished(outcome) => {
                let scores = Scores::of(&outcome, &Run::open(&folder)?, samples);
                scores.write(&folder)?;
                Ok(CellEnd::Done(scores))
            }
        }
    }
}
