//! A run's folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::RunError;
use super::manifest::{FORMAT, MANIFEST, Manifest, Task};
use crate::files::{FileError, read_text, sha256, write_atomic};

/// The name of the configuration in a run's folder.
pub const CONFIG: &str = "config.toml";
/// Folder of the checkpoints' files.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// In the name of an optimizer's state, after the name of its checkpoint.
pub(super) const OPTIMIZER: &str = ".optimizer";

/// A run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    /// Path of the folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Run {
    /// Creates the folder of a new run. It has a manifest, and is found as a run, from its first checkpoint on.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(folder: &Path, manifest: Manifest) -> Result<Self, RunError> {
        let checkpoints = folder.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(|e| FileError::new("create", &checkpoints, e))?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Whether a folder holds a run.
    pub fn exists(folder: &Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Opens a run.
    ///
    /// # Errors
    /// If the folder holds no manifest that this version reads.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(MANIFEST);
        if !Self::exists(folder) {
            return Err(RunError::NoRun(folder.to_owned()));
        }
        let text = read_text(&path)?;
        let unreadable = |source| RunError::Manifest { path: path.clone(), source };
        let manifest: Manifest = serde_json::from_str(&text).map_err(unreadable)?;
        if manifest.format != FORMAT {
            return Err(RunError::Format { path, found: manifest.format, expected: FORMAT });
        }
        let read: Value = serde_json::from_str(&text).map_err(unreadable)?;
        let complete = serde_json::to_value(&manifest).map_err(unreadable)?;
        if let Some(field) =
            COMPLETE.iter().find_map(|field| missing(field, &read[*field], &complete[*field]))
        {
            return Err(RunError::MissingField { path, field });
        }
        let range = manifest.backbone_config().check();
        range.map_err(|source| RunError::Architecture { path: path.clone(), source })?;
        manifest.trainable_tensors().map_err(|source| RunError::Contradiction { path, source })?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    pub(super) fn write_manifest(&self) -> Result<(), RunError> {
        let path = self.folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&self.manifest)
            .map_err(|source| RunError::Manifest { path: path.clone(), source })?;
        write_atomic(&path, |w| writeln!(w, "{text}"))?;
        Ok(())
    }

    /// The entry of a task (see [`Manifest::task`]).
    ///
    /// # Errors
    /// If the run was not trained on it.
    pub fn task(&self, name: &str) -> Result<&Task, RunError> {
        self.manifest.task(name)
    }
}

/// The tables of a manifest in which no field may be absent: their defaults are those of new runs, and would make another
/// model of an old one.
const COMPLETE: [&str; 3] = ["method", "t5", "bert"];

/// The first field of `complete` that `read` lacks, under the name of the table `name`.
fn missing(name: &str, read: &Value, complete: &Value) -> Option<String> {
    complete.as_object()?.iter().find_map(|(field, value)| {
        let name = format!("{name}.{field}");
        match read.get(field) {
            Some(read) => missing(&name, read, value),
            None => Some(name),
        }
    })
}

/// Compares the SHA-256 of a file with that in the manifest.
pub(super) fn check_hash(path: &Path, expected: &str) -> Result<(), RunError> {
    compare_hashes(path, sha256(path)?, expected)
}

/// Compares the SHA-256 `found` for `path` with that in the manifest.
pub(super) fn compare_hashes(path: &Path, found: String, expected: &str) -> Result<(), RunError> {
    if found == expected {
        return Ok(());
    }
    Err(RunError::Damaged { path: path.to_owned(), found, expected: expected.to_owned() })
}
