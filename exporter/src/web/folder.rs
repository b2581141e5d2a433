//! Folders that appear complete or not at all: a temporary folder beside the target, then a rename.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{Existing, FileError, folder_of, read_text, sync_folder};
use serde_json::Value;
use tempfile::{Builder, TempDir};

use super::error::WebError;
use super::metadata::METADATA;
use super::parts;
use crate::error::ExportError;

/// Checks, before other work is done, that a site can be written to `folder`: it is not there, or empty, or `existing` allows to
/// replace it and it has the files of a site only.
///
/// # Errors
/// If not.
pub fn check_site(folder: &Path, existing: Existing) -> Result<(), ExportError> {
    let failed = |error| FileError::new("read", folder, error);
    if fs::symlink_metadata(folder).is_err() {
        return Ok(());
    }
    let about = fs::metadata(folder).map_err(failed)?;
    if !about.is_dir() {
        return Err(WebError::NotAFolder(folder.to_owned()).into());
    }
    let mut paths = Vec::new();
    list(folder, "", &mut paths)?;
    paths.sort();
    if paths.is_empty() {
        return Ok(());
    }
    let listed = listed(folder);
    let is_site = paths.iter().any(|path| path == METADATA);
    match paths.into_iter().find(|path| !is_site || !parts::is_of_site(path, &listed)) {
        Some(other) => Err(WebError::OtherFile { folder: folder.to_owned(), other }.into()),
        None if existing == Existing::Keep => Err(WebError::Exists(folder.to_owned()).into()),
        None => Ok(()),
    }
}

/// The paths of all files in `folder` and its folders, and those of empty folders, after `prefix` and with `/` between the parts.
///
/// # Errors
/// Names the folder that cannot be read.
fn list(folder: &Path, prefix: &str, paths: &mut Vec<String>) -> Result<(), FileError> {
    let failed = |error| FileError::new("read", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let before = paths.len();
        if entry.file_type().map_err(failed)?.is_dir() {
            list(&entry.path(), &format!("{path}/"), paths)?;
        }
        if paths.len() == before {
            paths.push(path);
        }
    }
    Ok(())
}

/// The names of files in the metadata of the site in `folder`; none if there is no metadata.
fn listed(folder: &Path) -> Vec<String> {
    let text = read_text(&folder.join(METADATA)).unwrap_or_default();
    let metadata: Value = serde_json::from_str(&text).unwrap_or_default();
    let files = metadata["files"].as_array().into_iter().flatten();
    files.filter_map(|file| file["name"].as_str()).map(str::to_owned).collect()
}

/// A folder under a temporary name. If it is dropped before it is complete, nothing is left of it.
pub(super) struct NewFolder {
    temporary: TempDir,
    /// The folder that is replaced: the one that was asked for, or what it links to.
    target: PathBuf,
    existing: Existing,
}

impl NewFolder {
    /// An empty folder beside `folder`, or beside what it links to.
    pub(super) fn create(folder: &Path, existing: Existing) -> Result<Self, ExportError> {
        check_site(folder, existing)?;
        let target = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let parent = folder_of(&target);
        fs::create_dir_all(parent).map_err(|error| FileError::new("create", parent, error))?;
        let temporary = temporary_in(parent);
        let temporary = temporary.map_err(|error| FileError::new("write to", parent, error))?;
        Ok(Self { temporary, target, existing })
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name. A folder that is replaced is removed afterwards.
    pub(super) fn commit(self) -> Result<(), ExportError> {
        let Self { temporary, target, existing } = self;
        check_site(&target, existing)?;
        let failed = |error| FileError::new("write", &target, error);
        // An empty folder makes place by itself.
        let earlier = match target.join(METADATA).exists() {
            true => {
                let earlier = temporary_in(folder_of(&target)).map_err(failed)?;
                fs::rename(&target, earlier.path()).map_err(failed)?;
                Some(earlier)
            }
            false => None,
        };
        if let Err(error) = fs::rename(temporary.path(), &target) {
            if let Some(earlier) = earlier {
                fs::rename(earlier.keep(), &target).map_err(failed)?;
            }
            return Err(failed(error).into());
        }
        let _moved = temporary.keep();
        Ok(sync_folder(&target)?)
    }
}

/// A folder that other users can read, as the system's mask allows: a server of files may run as another user.
fn temporary_in(parent: &Path) -> std::io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix(".hl-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}
