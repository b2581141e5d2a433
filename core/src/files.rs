//! Files that are complete or absent: temporary file beside the target, fsync, rename. Only regular files are read and
//! replaced, so that a pipe or a device neither blocks a program nor is destroyed.

use std::fs::{self, File, FileType};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FileError {
    /// What was attempted: `read`, `write`, `create`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl FileError {
    /// An error of `action` on `path`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

/// Most bytes of a text that is read as a whole.
const MAX_TEXT: u64 = 256 << 20;

/// How the names of temporary files begin and end.
const TEMPORARY: (&str, &str) = (".hl-", ".tmp");

/// Whether a file of this name is an unfinished file of [`write_atomic`].
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// Writes `path` with `fill`. The file is complete or absent even if the program is interrupted.
///
/// # Errors
/// Any error of the file system or of `fill`; nothing is left at `path` then (an older file stays as it was).
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let fill = |w: &mut dyn Write| fill(w).map_err(|e| FileError::new("write", path, e));
    write_checked(path, Existing::Replace, fill, |_, ()| Ok(()))
}

/// Checks, before other work is done, that [`write_atomic`] can write `path`: it is absent or a regular file, or a symbolic
/// link to one, and its folder can be written.
///
/// # Errors
/// What [`write_atomic`] would fail with.
pub fn check_output(path: &Path) -> Result<(), FileError> {
    let target = target(path)?;
    temporary_in(folder_of(&target), None).map(drop).map_err(|e| FileError::new("write", path, e))
}

/// Checks, before other work is done, that files can be created in `folder`, which need not exist yet.
///
/// # Errors
/// If the first of its parents that exists is not a folder or cannot be written.
pub fn check_output_folder(folder: &Path) -> Result<(), FileError> {
    let existing = folder.ancestors().find(|ancestor| ancestor.as_os_str().is_empty() || ancestor.exists());
    let existing = existing.filter(|ancestor| !ancestor.as_os_str().is_empty()).unwrap_or(Path::new("."));
    temporary_in(existing, None).map(drop).map_err(|e| FileError::new("write to", folder, e))
}

/// The folder of a file: `.` for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A temporary file with the permissions of `replaced`, or those of any new file.
fn temporary_in(folder: &Path, replaced: Option<&Path>) -> io::Result<NamedTempFile> {
    let builder = &mut tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    let kept = replaced.and_then(|path| fs::metadata(path).ok()).map(|about| about.permissions());
    // Until it has those of the file that it replaces, it is private.
    if kept.is_none() {
        share(builder);
    }
    // The reason alone: the name of the temporary file would not help the reader.
    let temporary = builder.tempfile_in(folder).map_err(|e| io::Error::from(e.kind()))?;
    if let Some(kept) = kept {
        temporary.as_file().set_permissions(kept)?;
    }
    Ok(temporary)
}

/// Gives `file`, which will replace the file at `path`, the permissions of that file, if there is one.
///
/// # Errors
/// If the system does not allow it.
pub fn keep_permissions(file: &File, path: &Path) -> Result<(), FileError> {
    match fs::metadata(path) {
        Ok(about) => file.set_permissions(about.permissions()).map_err(|e| FileError::new("write", path, e)),
        Err(_) => Ok(()),
    }
}

/// The file to write for `path`: `path` itself, or what it links to. A link stays a link.
fn target(path: &Path) -> Result<PathBuf, FileError> {
    let failed = |e| FileError::new("write", path, e);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // A missing folder is reported when the temporary file is created.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(error) => return Err(failed(error)),
    };
    let target = match found.is_symlink() {
        true => fs::canonicalize(path).map_err(|e| failed(io::Error::new(e.kind(), DANGLING)))?,
        false => path.to_owned(),
    };
    match fs::metadata(&target).map_err(failed)?.file_type() {
        kind if kind.is_file() => Ok(target),
        kind => Err(failed(not_regular(kind))),
    }
}

const DANGLING: &str = "it is a symbolic link to a file that does not exist";

/// The error for something that is not a regular file.
fn not_regular(kind: FileType) -> io::Error {
    if kind.is_dir() {
        return io::ErrorKind::IsADirectory.into();
    }
    #[cfg(unix)]
    let what = {
        use std::os::unix::fs::FileTypeExt;
        match kind {
            kind if kind.is_fifo() => "a named pipe",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        }
    };
    #[cfg(not(unix))]
    let what = "something else";
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, expected a regular file"))
}

/// Checks that `path` is a regular file or a symbolic link to one.
///
/// # Errors
/// If it is missing, or a folder, pipe or device.
pub fn check_regular(path: &Path) -> Result<(), FileError> {
    let failed = |e| FileError::new("read", path, e);
    match fs::metadata(path).map_err(failed)?.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => Err(failed(not_regular(kind))),
    }
}

/// Opens a regular file.
///
/// # Errors
/// As [`check_regular`], and if it cannot be opened.
pub fn open_regular(path: &Path) -> Result<File, FileError> {
    // Checked first: opening a pipe would wait for a writer.
    check_regular(path)?;
    File::open(path).map_err(|e| FileError::new("read", path, e))
}

/// What becomes of a file that has the name of one that is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced.
    #[default]
    Replace,
    /// It stays, and the new file is removed, even if it appeared while the other one was written.
    Keep,
}

/// As [`write_atomic`], and calls `check` with the complete file under a temporary name in the same folder and the result
/// of `fill` before the file is renamed. Returns the result of `check`.
///
/// # Errors
/// Any error of the file system, of `fill` or of `check`, and a file that is there if `existing` keeps it; nothing is left at
/// `path` then (an older file stays as it was).
pub fn write_checked<T, R, E: From<FileError>>(
    path: &Path,
    existing: Existing,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    check: impl FnOnce(&Path, T) -> Result<R, E>,
) -> Result<R, E> {
    let mut file = AtomicFile::create(path)?;
    let filled = fill(&mut file)?;
    file.complete()?;
    let checked = check(file.writer.get_ref().path(), filled)?;
    file.rename(existing)?;
    Ok(checked)
}

/// A file that gets its name when it is complete. If it is dropped before, nothing is left of it.
#[derive(Debug)]
pub struct AtomicFile {
    /// The path that was asked for, for errors.
    path: PathBuf,
    /// The file that is replaced: `path`, or what it links to.
    target: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// An empty file under a temporary name in the folder of `path`, or of the file that it links to.
    ///
    /// # Errors
    /// If `path` is there and not a regular file, or the folder does not take it.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let target = target(path)?;
        let temporary =
            temporary_in(folder_of(&target), Some(&target)).map_err(|e| FileError::new("write", path, e))?;
        let writer = BufWriter::with_capacity(1 << 20, temporary);
        Ok(Self { path: path.to_owned(), target, writer })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Any error of the file system; nothing is left then.
    pub fn commit(mut self) -> Result<(), FileError> {
        self.complete()?;
        self.rename(Existing::Replace)
    }

    fn failed(&self) -> impl Fn(io::Error) -> FileError + use<> {
        let path = self.path.clone();
        move |error| FileError::new("write", &path, error)
    }

    /// Writes all bytes to the disk.
    fn complete(&mut self) -> Result<(), FileError> {
        let failed = self.failed();
        self.writer.flush().map_err(&failed)?;
        let file = self.writer.get_ref().as_file();
        file.sync_all().map_err(&failed)
    }

    fn rename(self, existing: Existing) -> Result<(), FileError> {
        let failed = self.failed();
        let temporary = self.writer.into_inner().map_err(|error| failed(error.into_error()))?;
        let renamed = match existing {
            Existing::Replace => temporary.persist(&self.target),
            Existing::Keep => temporary.persist_noclobber(&self.target),
        };
        renamed.map_err(|error| failed(error.error))?;
        sync_folder(&self.target)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Makes the rename of a file survive a power failure.
///
/// # Errors
/// If the system cannot.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let sync = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    sync.map_err(|error| FileError::new("write", path, error))
}

/// Gives the file the permissions of any file that a program creates, less those that the user's mask takes; temporary files are
/// private by default.
#[cfg(unix)]
fn share(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn share(_builder: &mut tempfile::Builder<'_, '_>) {}

/// The SHA-256 of a file's bytes, in lower-case hexadecimal.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(path: &Path) -> Result<String, FileError> {
    let mut file = open_regular(path)?;
    let mut hasher = Sha256::new();
    hash_into(&mut hasher, &mut file).map_err(|e| FileError::new("read", path, e))?;
    Ok(hexadecimal(&hasher.finalize()))
}

/// The SHA-256 of a file to which bytes are appended while it is computed, in a thread of its own.
#[derive(Debug)]
pub struct GrowingHash {
    path: PathBuf,
    thread: JoinHandle<io::Result<(File, Sha256)>>,
}

impl GrowingHash {
    /// Starts with the bytes that the file `path` has.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn start(path: &Path) -> Result<Self, FileError> {
        let mut file = open_regular(path)?;
        let length = file.metadata().map_err(|e| FileError::new("read", path, e))?.len();
        let thread = thread::spawn(move || {
            let mut hasher = Sha256::new();
            hash_into(&mut hasher, &mut (&mut file).take(length))?;
            Ok((file, hasher))
        });
        Ok(Self { path: path.to_owned(), thread })
    }

    /// The hash of all bytes that the file has by now, in lower-case hexadecimal.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn finish(self) -> Result<String, FileError> {
        let joined = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let rest = joined.and_then(|(mut file, mut hasher)| {
            hash_into(&mut hasher, &mut file)?;
            Ok(hexadecimal(&hasher.finalize()))
        });
        rest.map_err(|e| FileError::new("read", &self.path, e))
    }
}

fn hash_into(hasher: &mut Sha256, bytes: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the standard library says of such a text.
const NOT_UTF8: &str = "stream did not contain valid UTF-8";

/// Reads a regular file of at most 256 MiB as text.
///
/// # Errors
/// If the file is not regular, too large, unreadable, or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = |e| FileError::new("read", path, e);
    let bytes = read_bytes(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, NOT_UTF8)))
}

/// Reads a regular file of at most `most` bytes, a whole number of MiB.
///
/// # Errors
/// If the file is not regular, too large or unreadable.
pub fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let failed = |e| FileError::new("read", path, e);
    let mut bytes = Vec::new();
    open_regular(path)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        let reason = format!("it is larger than {} MiB", most >> 20);
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
