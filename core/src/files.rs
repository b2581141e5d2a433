//! Files that are complete or absent: temporary file beside the target, fsync, rename.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

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
    write_checked(path, fill, |_, ()| Ok(()))
}

/// As [`write_atomic`], and calls `check` with the complete file under a temporary name in the same folder and the result
/// of `fill` before the file is renamed. Returns the result of `check`.
///
/// # Errors
/// Any error of the file system, of `fill` or of `check`; nothing is left at `path` then (an older file stays as it was).
pub fn write_checked<T, R, E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    check: impl FnOnce(&Path, T) -> Result<R, E>,
) -> Result<R, E> {
    let mut file = AtomicFile::create(path)?;
    let filled = fill(&mut file)?;
    file.complete()?;
    let checked = check(file.writer.get_ref().path(), filled)?;
    file.rename()?;
    Ok(checked)
}

/// A file that gets its name when it is complete. If it is dropped before, nothing is left of it.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// An empty file under a temporary name in the folder of `path`.
    ///
    /// # Errors
    /// If the folder does not take it.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let builder = &mut tempfile::Builder::new();
        let temporary = builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempfile_in(folder_of(path));
        // The reason alone: the name of the temporary file would not help the reader.
        let temporary = temporary.map_err(|e| FileError::new("write", path, e.kind().into()))?;
        Ok(Self { path: path.to_owned(), writer: BufWriter::with_capacity(1 << 20, temporary) })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Any error of the file system; nothing is left then.
    pub fn commit(mut self) -> Result<(), FileError> {
        self.complete()?;
        self.rename()
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
        share_permissions(file).map_err(&failed)?;
        file.sync_all().map_err(&failed)
    }

    fn rename(self) -> Result<(), FileError> {
        let failed = self.failed();
        let temporary = self.writer.into_inner().map_err(|error| failed(error.into_error()))?;
        temporary.persist(&self.path).map_err(|error| failed(error.error))?;
        sync_folder(&self.path)
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

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
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

/// Makes the file readable for all users, like any file that a program writes; temporary files are private by default.
#[cfg(unix)]
fn share_permissions(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share_permissions(_file: &File) -> io::Result<()> {
    Ok(())
}

/// The SHA-256 of a file's bytes, in lower-case hexadecimal.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(path: &Path) -> Result<String, FileError> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hexadecimal(&hasher.finalize())),
                n => hasher.update(&buffer[..n]),
            }
        }
    };
    read().map_err(|e| FileError::new("read", path, e))
}

/// Bytes as lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a whole file as text.
///
/// # Errors
/// If the file cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_older_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().source.to_string(), "disk full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_fails_its_check_is_left_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let check = |written: &Path, good: bool| {
            assert_eq!(std::fs::read(written).unwrap(), b"new");
            if good { Ok(7) } else { Err(FileError::new("check", written, io::Error::other("bad"))) }
        };
        let fill = |w: &mut dyn Write| w.write_all(b"new").map_err(|e| FileError::new("write", &path, e));
        assert!(write_checked(&path, fill, |written, ()| check(written, false)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(write_checked(&path, fill, |written, ()| check(written, true)).unwrap(), 7);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn the_hash_is_the_published_one_of_abc() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        write_atomic(&path, |w| w.write_all(b"abc")).unwrap();
        assert_eq!(
            sha256(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
