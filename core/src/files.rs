//! Files that are complete or absent: temporary file beside the target, fsync, rename. Only regular files are read and
//! replaced, so that a pipe or a device neither blocks a program nor is destroyed.

use std::fs::{self, File, FileType};
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
    let mut read = || -> io::Result<String> {
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

/// Reads a regular file of at most 256 MiB as text.
///
/// # Errors
/// If the file is not regular, too large, unreadable, or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = |e| FileError::new("read", path, e);
    let file = open_regular(path)?;
    let mut text = String::new();
    file.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_TEXT {
        let reason = format!("it is larger than {} MiB", MAX_TEXT >> 20);
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(text)
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

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_usual_permissions_and_a_replaced_one_keeps_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        File::create(path("usual")).unwrap();
        write_atomic(&path("new"), |w| w.write_all(b"a")).unwrap();
        assert_eq!(mode("new"), mode("usual"));
        for kept in [0o600, 0o640, 0o666, 0o755, 0o400] {
            fs::write(path("old"), "old").unwrap();
            fs::set_permissions(path("old"), fs::Permissions::from_mode(kept)).unwrap();
            let file = AtomicFile::create(&path("old")).unwrap();
            let unfinished =
                file.writer.get_ref().as_file().metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(unfinished, kept, "{kept:o}");
            file.commit().unwrap();
            assert_eq!(mode("old"), kept, "{kept:o}");
            fs::remove_file(path("old")).unwrap();
        }
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
        assert!(write_checked(&path, Existing::Replace, fill, |written, ()| check(written, false)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(
            write_checked(&path, Existing::Replace, fill, |written, ()| check(written, true)).unwrap(),
            7
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_while_another_is_written_stays_if_it_is_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let fill = |w: &mut dyn Write| w.write_all(b"new").map_err(|e| FileError::new("write", &path, e));
        let appears = |_: &Path, ()| {
            fs::write(&path, "mine").unwrap();
            Ok(())
        };
        assert!(write_checked(&path, Existing::Keep, fill, appears).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        write_checked(&path, Existing::Replace, fill, appears).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
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

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_replaced_and_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path("device")).unwrap();
        std::os::unix::fs::symlink("nothing", path("dangling")).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        fs::write(path("file"), "old").unwrap();
        let write =
            |path: &Path| write_atomic(path, |w| w.write_all(b"new")).map_err(|e| e.source.to_string());
        for (name, reason) in [
            ("pipe", "it is a named pipe, expected a regular file"),
            ("folder", "is a directory"),
            ("device", "it is a device, expected a regular file"),
            ("dangling", DANGLING),
        ] {
            assert_eq!(write(&path(name)).unwrap_err(), reason, "{name}");
            assert_eq!(check_output(&path(name)).unwrap_err().source.to_string(), reason, "{name}");
        }
        assert_eq!(write(Path::new("/dev/full")).unwrap_err(), "it is a device, expected a regular file");
        check_output(&path("link")).unwrap();
        write(&path("link")).unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(check_output(&path("none/file")).unwrap_err().source.kind(), io::ErrorKind::NotFound);
        check_output(&path("fresh")).unwrap();
        assert!(!path("fresh").exists());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            assert!(read_text(path).is_err() && sha256(path).is_err() && open_regular(path).is_err());
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_checked_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        check_output_folder(&folder.path().join("runs/new")).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check_output_folder(&file.join("runs")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
