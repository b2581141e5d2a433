//! A training that several commands of the same name share: the first creates its run, later ones continue it.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, is_temporary};
use hyperloader_core::run::Run;

use super::error::TrainError;
use super::observer::Observer;
use super::training::Training;
use crate::config::Config;
use crate::parallel::Group;
use crate::record::CONFIG;

impl Training {
    /// Prepares the run `config.name` in the folder `config.runs`, or continues it if it exists. A run that exists keeps its
    /// own configuration, but for the device and the number of threads. `observer` follows the reading of streamed tasks.
    ///
    /// # Errors
    /// As [`Training::prepare`] and [`Training::resume`].
    pub fn prepare_or_resume(config: Config, observer: &mut dyn Observer) -> Result<Self, TrainError> {
        let folder = config.runs.join(config.name.as_deref().unwrap_or_default());
        if !Run::exists(&folder) {
            remove_empty(&folder)?;
            return Self::prepare(config, None, Group::alone(), observer);
        }
        let mut kept = Config::from_file(&folder.join(CONFIG))?;
        kept.training.device = config.training.device;
        kept.training.threads = config.training.threads;
        Self::resume(kept, Run::open(&folder)?, Group::alone(), observer)
    }

    /// The same training, which stops after this step as if it were asked to. At an evaluation this leaves the run with the
    /// files that it would have without the pause.
    pub fn pause_after(mut self, step: u64) -> Self {
        self.pause = Some(step);
        self
    }

    /// Whether the step of [`Training::pause_after`] is done.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some_and(|step| self.done >= step)
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
