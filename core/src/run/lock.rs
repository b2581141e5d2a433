//! One training at a time writes to a run.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;

use super::error::RunError;
use super::folder::Run;
use crate::files::FileError;

const LOCK: &str = ".lock";

impl Run {
    /// Locks the folder against other trainings until the returned file is dropped or the program ends in any way.
    ///
    /// # Errors
    /// If another training holds the lock.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.folder.join(LOCK);
        let file = File::create(&path).map_err(|e| FileError::new("create", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse(self.folder.clone())),
            Err(TryLockError::Error(e)) => Err(FileError::new("lock", &path, e).into()),
        }
    }

    /// Whether another program trains the run or adds to it. Nothing is written, but a program that locks the run at the same
    /// instant is refused.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn is_in_use(&self) -> Result<bool, RunError> {
        let path = self.folder.join(LOCK);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(FileError::new("read", &path, e).into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(FileError::new("lock", &path, e).into()),
        }
    }
}
