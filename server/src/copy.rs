//! A model's own copy of its files.
//!
//! A runtime reads weights from the file while it tags. If the file were written in place meanwhile, tags would be wrong, or the
//! process would be killed. So each tagger is opened from a copy in the folder of temporary files (TMPDIR), which is removed
//! when the tagger is open: the system keeps its content as long as it is used.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyperloader_core::files::{FileError, check_regular};
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

/// A copy of a model file and its data files, and their state when it was made.
#[derive(Debug)]
pub(crate) struct Copy {
    folder: TempDir,
    path: PathBuf,
    pub(crate) stamps: Stamps,
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
    /// # Errors
    /// If a file cannot be read or copied, is not an ONNX model, or changes meanwhile.
    pub(crate) fn new(path: &Path) -> Result<Self, CopyError> {
        check_regular(path)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CopyError::Copy { path, folder: std::env::temp_dir(), source }
        };
        let folder = tempfile::Builder::new().prefix("hl-serve-").tempdir().map_err(failed(path))?;
        let before = Stamps::of_model(path);
        let name = path.file_name().unwrap_or_default();
        let copy = folder.path().join(name);
        copy_file(path, &copy)?;
        // What is wrong with a model is reported when it is opened.
        let data = data_files(&copy).unwrap_or_default();
        let originals: Vec<PathBuf> =
            data.iter().filter_map(|data| Some(path.with_file_name(data.file_name()?))).collect();
        let stamps = Stamps::of(std::iter::once(path).chain(originals.iter().map(PathBuf::as_path)));
        for (original, copy) in originals.iter().zip(&data) {
            check_regular(original)?;
            copy_file(original, copy)?;
        }
        if stamps != stamps.now() || before != Stamps::of_model(path) {
            return Err(CopyError::Changed { path: path.to_owned() });
        }
        Ok(Self { folder, path: copy, stamps })
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
