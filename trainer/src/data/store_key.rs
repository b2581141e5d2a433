//! The name of a store, which follows from all that its examples depend on.
//!
//! The files are not read for it. A file that was replaced has another path, size or time. Two times are compared: that of the
//! last change of the content, which any program can set, and on Unix that of the last change of the file's entry in the file
//! system (ctime), which no program can set. Elsewhere, a file of equal size that was given the earlier time is not noticed.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hyperloader_core::corpus::CorpusSpec;
use hyperloader_core::files::{FileError, hexadecimal};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::DataError;
use super::source::TaskSource;

/// Part of the name of each store: changes when equal files give other examples, or another form of the store.
const VERSION: u32 = 2;

/// The state of a file: changes if its content does.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FileState {
    /// The absolute path, without symbolic links.
    path: String,
    bytes: u64,
    /// The time of the last change of its content, in nanoseconds since 1970.
    modified: u64,
    /// The time of the last change of its content, name, owner or times (ctime), in nanoseconds since 1970; 0 on other systems
    /// than Unix.
    changed: i64,
}

impl FileState {
    fn of(file: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::new("read", file, error);
        let path = fs::canonicalize(file).map_err(failed)?;
        let about = fs::metadata(&path).map_err(failed)?;
        let modified = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            path: path.to_string_lossy().into_owned(),
            bytes: about.len(),
            modified: modified.as_nanos() as u64,
            changed: changed(&about),
        })
    }
}

#[cfg(unix)]
fn changed(about: &Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    about.ctime().saturating_mul(1_000_000_000).saturating_add(about.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> i64 {
    0
}

impl TaskSource<'_> {
    /// The name of the task's store: 32 hexadecimal digits.
    ///
    /// # Errors
    /// If a file is missing, or the tokenizer fails.
    pub(super) fn store_key(&self) -> Result<String, DataError> {
        let mut files = self.spec.train_files().map_err(|error| self.corpus_error(error))?;
        // The labels of the validation split count.
        files.extend(self.spec.valid.clone());
        let states = files.iter().map(|file| FileState::of(file)).collect::<Result<Vec<_>, _>>();
        let states = states.map_err(|error| self.corpus_error(error.into()))?;
        let spec = CorpusSpec { train: PathBuf::new(), valid: None, test: None, ..self.spec.clone() };
        let t = &self.config.training;
        let all = json!({
            "version": VERSION, "files": states, "spec": spec, "coding": self.codec.identity(),
            "prefix": self.prefix()?, "too_long": t.too_long, "limits": [t.max_source_len, t.max_target_len],
        });
        Ok(hexadecimal(&Sha256::digest(all.to_string()))[..32].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{FileTimes, write};

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_by_one_of_equal_size_and_time_has_another_state() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("a"), folder.path().join("b"));
        write(&file, "first").unwrap();
        let before = FileState::of(&file).unwrap();
        assert_eq!(FileState::of(&file).unwrap(), before);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        // Until the clock of the file system has moved on.
        let mut after = FileState::of(&file).unwrap();
        while after.changed == before.changed {
            write(&other, "other").unwrap();
            fs::rename(&other, &file).unwrap();
            let times = FileTimes::new().set_modified(modified);
            fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
            after = FileState::of(&file).unwrap();
        }
        assert_eq!((after.bytes, after.modified), (before.bytes, before.modified));
        assert_ne!(after, before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_has_the_state_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(FileState::of(&link).unwrap(), FileState::of(&file).unwrap());
        // In another folder, equal files are others.
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(&file, elsewhere.join("a")).unwrap();
        let moved = FileState::of(&elsewhere.join("a")).unwrap();
        assert!(moved.path.ends_with("elsewhere/a"));
    }
}
