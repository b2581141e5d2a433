//! Paths of a configuration: relative to its folder in the file, relative to the working directory in memory.

use std::path::{Component, Path, PathBuf};

use hyperloader_core::files::FileError;

use super::Config;

/// The folder of the stores of streamed tasks, in a folder of runs.
pub(crate) const STREAMS: &str = ".streams";

impl Config {
    /// The folder of the stores of streamed tasks.
    pub fn streams_folder(&self) -> PathBuf {
        self.streams.clone().unwrap_or_else(|| self.runs.join(STREAMS))
    }

    /// Resolves relative paths against `folder`, the folder of the configuration.
    pub fn resolved(mut self, folder: &Path) -> Self {
        self.runs = folder.join(&self.runs);
        self.streams = self.streams.map(|path| folder.join(path));
        self.backbone.path = self.backbone.path.map(|path| folder.join(path));
        self.tasks = self.tasks.into_iter().map(|(name, spec)| (name, spec.resolved(folder))).collect();
        self
    }

    /// Makes paths relative to `folder`, for a copy of the configuration in that folder.
    ///
    /// # Errors
    /// If the working directory does not exist.
    pub fn relative_to(mut self, folder: &Path) -> Result<Self, FileError> {
        self.runs = from_folder(&self.runs, folder)?;
        self.streams = self.streams.map(|path| from_folder(&path, folder)).transpose()?;
        self.backbone.path = self.backbone.path.map(|path| from_folder(&path, folder)).transpose()?;
        for spec in self.tasks.values_mut() {
            for path in spec.paths_mut() {
                *path = from_folder(path, folder)?;
            }
        }
        Ok(self)
    }
}

/// `path` relative to `folder`, or absolute if there is no relative path.
///
/// # Errors
/// If the working directory does not exist.
pub fn from_folder(path: &Path, folder: &Path) -> Result<PathBuf, FileError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| FileError::new("find", path, e));
    let (path, folder) = (absolute(path)?, absolute(folder)?);
    Ok(pathdiff::diff_paths(&path, folder).unwrap_or(path))
}

/// Whether `name` is a single path component, so that a folder of this name is directly inside its parent.
pub(crate) fn is_folder_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}
