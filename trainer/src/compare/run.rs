//! A run of a comparison: trained or resumed, then scored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hyperloader_core::files::{FileError, is_temporary};
use hyperloader_core::run::Run;

use super::error::CompareError;
use super::plan::{Cell, samples};
use super::results::Scores;
use crate::config::Config;
use crate::parallel::Group;
use crate::record::CONFIG;
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
        let training = if Run::exists(&folder) {
            let mut kept = Config::from_file(&folder.join(CONFIG))?;
            kept.training.device = config.training.device;
            kept.training.threads = config.training.threads;
            Training::resume(kept, Run::open(&folder)?, Group::alone(), observer)?
        } else {
            remove_empty(&folder)?;
            Training::prepare(config, None, Group::alone(), observer)?
        };
        match training.run(observer, stop)? {
            End::Stopped { step, .. } => Ok(CellEnd::Stopped { step }),
            End::Finished(outcome) => {
                let scores = Scores::of(&outcome, &Run::open(&folder)?, samples);
                scores.write(&folder)?;
                Ok(CellEnd::Done(scores))
            }
        }
    }
}

/// Removes the folder of a run that was interrupted before it wrote a file. Otherwise a training would refuse the folder
/// as one that is not a run.
fn remove_empty(folder: &Path) -> Result<(), FileError> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let empty =
        |path: &PathBuf| is_temporary(&name(path)) || name(path) == "checkpoints" && entries(path).is_empty();
    if folder.is_dir() && entries(folder).iter().all(empty) {
        fs::remove_dir_all(folder).map_err(|e| FileError::new("remove", folder, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_without_files_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("1");
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        fs::write(folder.join(".hl-x.tmp"), "").unwrap();
        remove_empty(&folder).unwrap();
        assert!(!folder.exists());
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        fs::write(folder.join("notes"), "").unwrap();
        remove_empty(&folder).unwrap();
        assert!(folder.join("notes").exists());
    }
}
