//! A model's own copy of its files.
//!
//! A runtime reads weights from the file while it tags. If the file were written in place meanwhile, tags would be wrong, or the
//! process would be killed. So each tagger is opened from a copy in the folder of temporary files (TMPDIR), which is removed
//! when the tagger is open: the system keeps its content as long as it is used.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hyperloader_core::files::{FileError, check_regular, open_regular};
use hyperloader_onnx::data_files;
use tempfile::TempDir;

/// What tells a file from an earlier one at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// None if there is no such file.
    about: Option<(u64, Option<SystemTime>, [i128; 3])>,
}

/// The state of a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Stamp>);

/// Device, inode and the time of the last change in nanoseconds, which programs cannot set.
#[cfg(unix)]
fn identity(about: &Metadata) -> [i128; 3] {
    use std::os::unix::fs::MetadataExt;
    let changed = i128::from(about.ctime()) * 1_000_000_000 + i128::from(about.ctime_nsec());
    [about.dev().into(), about.ino().into(), changed]
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> [i128; 3] {
    [0; 3]
}

impl Stamps {
    fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let stamp = |path: &Path| {
            let about = fs::metadata(path).ok();
            let about = about.map(|about| (about.len(), about.modified().ok(), identity(&about)));
            Stamp { path: path.to_owned(), about }
        };
        Self(paths.map(stamp).collect())
    }

    /// The state of the same files now.
    pub(crate) fn now(&self) -> Self {
        Self::of(self.0.iter().map(|stamp| stamp.path.as_path()))
    }

    /// The state of a file alone, before its data files are known.
    pub(crate) fn of_model(path: &Path) -> Self {
        Self::of(std::iter::once(path))
    }
}

/// The folders of copies that exist; none when the program ends, which makes no further copies.
static FOLDERS: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));
/// How often a folder is removed in which another thread still creates files.
const REMOVALS: usize = 10;

fn folders() -> MutexGuard<'static, Option<BTreeSet<PathBuf>>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the copies of models that are being loaded, for a program that ends. No further copies are made.
pub fn remove_copies() {
    for folder in folders().take().unwrap_or_default() {
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
    }
}

/// Whether the program ends.
pub(crate) fn is_ending() -> bool {
    folders().is_none()
}

/// How the names of folders of copies begin.
const PREFIX: &str = "hl-serve-";
/// The lock file that the server holds while the copy exists. The system releases the lock when the process ends in any way. The
/// name is that of no other program's lock.
const LOCK: &str = ".hl-serve-lock";
/// Its name until it is locked.
const UNLOCKED: &str = ".hl-serve-lock-new";

/// Removes the copies of servers that were killed while they loaded a model.
pub(crate) fn remove_abandoned() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for folder in entries.filter(may_be_copies).map(|entry| entry.path()) {
        // Only a server makes such a file. It is held until the folder is gone: of several servers, one removes it.
        let Ok(lock) = open_regular(&folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let shown = folder.display();
        match fs::remove_dir_all(&folder) {
            Ok(()) => tracing::info!(folder = %shown, "removed the model copies of a server that was killed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(folder = %shown, %error, "cannot remove the model copies of a server that was killed");
            }
        }
    }
}

/// Whether an entry is a folder, not a link to one, with a name as copies have.
fn may_be_copies(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_folder && entry.file_name().to_string_lossy().starts_with(PREFIX)
}

/// A folder of files, which is removed when this is dropped.
#[derive(Debug)]
struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    fn new() -> io::Result<Self> {
        let mut folders = folders();
        let folders = folders.as_mut().ok_or_else(|| io::Error::other("the program ends"))?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // The file has its name only when it is locked: no other program takes it for one that is abandoned. Where files cannot
        // be locked, it never has it.
        let unlocked = folder.path().join(UNLOCKED);
        let lock = File::create(&unlocked)?;
        if lock.try_lock().is_ok() {
            fs::rename(unlocked, folder.path().join(LOCK))?;
        }
        folders.insert(folder.path().to_owned());
        Ok(Self { folder, _lock: lock })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Under the lock: the program does not end between the two. If it fails, the folder is removed again at the end.
        if let Some(folders) = folders().as_mut()
            && fs::remove_dir_all(self.path()).is_ok()
        {
            folders.remove(self.path());
        }
    }
}

/// A copy of a model file and its data files.
#[derive(Debug)]
pub(crate) struct Copy {
    folder: Folder,
    path: PathBuf,
}

/// Whether an error may pass without a change of the files: the disk is full, or too many files are open.
pub(crate) fn may_pass(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    // ENFILE and EMFILE have no kind.
    let is_passing = |error: &io::Error| {
        matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory)
            || (cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)))
    };
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_passing) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "cannot copy `{}` to the folder of temporary files `{}`\n\
         hint: TMPDIR names another folder; it needs room for all models",
        path.display(),
        folder.display()
    )]
    Copy { path: PathBuf, folder: PathBuf, source: io::Error },
    #[error("`{}` changed while it was read\nhint: write a new file and rename it", path.display())]
    Changed { path: PathBuf },
}

impl Copy {
    /// Copies the model file `path` and the data files beside it that it refers to.
    ///
    /// `read` becomes the state of these files before they are copied, also if there is an error.
    ///
    /// # Errors
    /// If a file cannot be read or copied, is not an ONNX model, or changes meanwhile.
    pub(crate) fn new(path: &Path, read: &mut Stamps) -> Result<Self, CopyError> {
        *read = Stamps::of_model(path);
        check_regular(path)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CopyError::Copy { path, folder: std::env::temp_dir(), source }
        };
        let folder = Folder::new().map_err(failed(path))?;
        let name = path.file_name().unwrap_or_default();
        let copy = folder.path().join(name);
        copy_file(path, &copy)?;
        // What is wrong with a model is reported when it is opened.
        let data = data_files(&copy).unwrap_or_default();
        let originals: Vec<PathBuf> =
            data.iter().filter_map(|data| Some(path.with_file_name(data.file_name()?))).collect();
        let model = std::mem::take(&mut read.0);
        read.0 = model.into_iter().chain(Stamps::of(originals.iter().map(PathBuf::as_path)).0).collect();
        for (original, copy) in originals.iter().zip(&data) {
            check_regular(original)?;
            copy_file(original, copy)?;
        }
        if *read != read.now() {
            return Err(CopyError::Changed { path: path.to_owned() });
        }
        Ok(Self { folder, path: copy })
    }

    /// Path of the copied model file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `message` with the paths of the originals in place of those of the copies.
    pub(crate) fn name_originals(&self, message: &str, original: &Path) -> String {
        let parent = original.parent().unwrap_or(Path::new("")).display().to_string();
        let parent = if parent.is_empty() { parent } else { format!("{}/", parent.trim_end_matches('/')) };
        message.replace(&format!("{}/", self.folder.path().display()), &parent)
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), CopyError> {
    let failed = |source| CopyError::Copy { path: from.to_owned(), folder: std::env::temp_dir(), source };
    fs::File::open(from).map_err(|source| FileError::new("read", from, source))?;
    fs::copy(from, to).map(drop).map_err(failed)
}
