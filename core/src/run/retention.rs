//! Which checkpoints are kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoints::Which;
use super::error::RunError;
use super::folder::{CHECKPOINTS, OPTIMIZER, Run};
use crate::files::{FileError, is_temporary};

impl Run {
    /// Forgets checkpoints that are neither among the last `keep_last` nor the best.
    pub(super) fn drop_superseded(&mut self, keep_last: usize) {
        let mut steps: Vec<u64> = self.manifest.checkpoints.iter().map(|c| c.step).collect();
        steps.sort_unstable();
        let last = steps.split_off(steps.len().saturating_sub(keep_last.max(1)));
        let tasks = self.manifest.tasks.iter().map(|t| Which::BestOf(&t.name));
        let best = tasks.chain([Which::Best]).filter_map(|which| Some(self.checkpoint(which).ok()?.step));
        let keep: BTreeSet<u64> = best.chain(last.iter().copied()).collect();
        self.manifest.checkpoints.retain(|c| keep.contains(&c.step));
        for checkpoint in self.manifest.checkpoints.iter_mut().filter(|c| !last.contains(&c.step)) {
            checkpoint.state = None;
        }
    }

    /// Removes files of checkpoints that the manifest does not name: superseded ones, and those that were being written
    /// when a training was interrupted. Files with other names are left alone.
    pub(super) fn sweep(&self) -> Result<(), RunError> {
        let entries = self.manifest.checkpoints.iter();
        let named: BTreeSet<PathBuf> = entries
            .flat_map(|c| [Some(&c.file), c.state.as_ref().map(|s| &s.file)])
            .flatten()
            .map(|file| self.folder.join(file))
            .collect();
        let folder = self.folder.join(CHECKPOINTS);
        for entry in fs::read_dir(&folder).map_err(|e| FileError::new("read", &folder, e))? {
            let path = entry.map_err(|e| FileError::new("read", &folder, e))?.path();
            if is_checkpoint(&path) && !named.contains(&path) {
                fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
            }
        }
        Ok(())
    }
}

/// Whether a file has a name that [`Run::save`] gives, or the name of an unfinished file.
fn is_checkpoint(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let step = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let step = step.map(|step| step.strip_suffix(OPTIMIZER).unwrap_or(step));
    step.is_some_and(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()))
        || is_temporary(&name)
}
