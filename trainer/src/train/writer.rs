//! The writer of a run folder. Only process 0 has a run; in the others it does nothing.

use std::fs::File;

use hyperloader_core::files::FileError;
use hyperloader_core::run::{Run, RunError};
use serde::Serialize;

use crate::record::log::Log;

/// The run folder of process 0.
pub(super) struct Writer(Option<Open>);

struct Open {
    run: Run,
    /// Locks the run folder against other trainings.
    _lock: File,
    log: Log,
}

impl Writer {
    /// The writer of a run that is locked, or one that writes nothing.
    pub(super) fn new(run: Option<(Run, File)>) -> Result<Self, FileError> {
        let open = |(run, lock): (Run, File)| Ok(Open { log: Log::open(&run.folder)?, run, _lock: lock });
        run.map(open).transpose().map(Self)
    }

    /// The run, in process 0.
    pub(super) fn run(&self) -> Option<&Run> {
        self.0.as_ref().map(|open| &open.run)
    }

    /// Adds a line to the log.
    pub(super) fn log(&mut self, kind: &str, value: &impl Serialize) -> Result<(), FileError> {
        self.0.as_mut().map_or(Ok(()), |open| open.log.add(kind, value))
    }

    /// Calls `change` with the run in process 0, and does nothing in the others.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Run) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        self.0.as_mut().map_or(Ok(()), |open| change(&mut open.run))
    }
}

/// A run with its lock.
///
/// # Errors
/// If another training holds it.
pub(super) fn locked(run: Run) -> Result<(Run, File), RunError> {
    let lock = run.lock()?;
    Ok((run, lock))
}
