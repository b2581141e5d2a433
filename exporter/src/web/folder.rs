//! Folders that appear complete or not at all: a temporary folder beside the target, then a rename.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{Existing, FileError, folder_of, sync_folder};
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
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    let is_site = names.iter().any(|name| name == METADATA);
    match names.into_iter().find(|name| !is_site || !parts::is_of_site(name)) {
        Some(other) => Err(WebError::OtherFile { folder: folder.to_owned(), other }.into()),
        None if existing == Existing::Keep => Err(WebError::Exists(folder.to_owned()).into()),
        None => Ok(()),
    }
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
