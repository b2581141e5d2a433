//! An output that a later call continues: whole records in `FILE.partial`, and beside it how many of its bytes count.
//!
//! Records are written first, then `FILE.partial.json` is replaced, which names their number and size. A program that is killed in
//! between leaves bytes that do not count; the next call cuts them off.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use hyperloader_core::files::{FileError, keep_permissions, sync_folder, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Time between two updates of the state: each waits for the disk.
const PAUSE: Duration = Duration::from_millis(200);

/// What an output is made of: model, inputs and options by name.
pub(crate) type Task = Map<String, Value>;

/// How far an output got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    records: usize,
    errors: usize,
    bytes: u64,
    task: Task,
}

/// How the names of times in a task begin.
const CHANGE: &str = "last change of ";

/// Size and modification time of a file that the output depends on. Both are null for a pipe.
pub(crate) fn stamp(path: &Path) -> Vec<(String, Value)> {
    let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let size = about.as_ref().map(std::fs::Metadata::len);
    let changed = about.and_then(|about| about.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = changed.map(|time| time.as_nanos().to_string());
    let name = format!("`{}`", path.display());
    vec![(format!("size of {name}"), size.into()), (format!("{CHANGE}{name}"), nanoseconds.into())]
}

/// An unfinished output.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    partial: PathBuf,
    state_path: PathBuf,
    file: BufWriter<File>,
    state: State,
    /// Records that an earlier call wrote, and failed ones among them.
    done: (usize, usize),
    kept: Instant,
    bytes: u64,
}

/// The files of an unfinished output of `path`: its records, and how far they got.
pub(crate) fn files(path: &Path) -> [PathBuf; 2] {
    [beside(path, ".partial"), beside(path, ".partial.json")]
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

impl Partial {
    /// Opens the unfinished output of `path`, or begins one.
    ///
    /// # Errors
    /// If it was written for another task, is damaged, or files cannot be read and written.
    pub(crate) fn open(path: &Path, task: Task) -> Result<Self> {
        let [partial, state_path] = files(path);
        let failed = |error| FileError::new("write", &partial, error);
        let begun = partial.try_exists().map_err(|error| FileError::new("read", &partial, error))?;
        let state = match begun.then(|| std::fs::read(&state_path)) {
            Some(Ok(bytes)) => read(&bytes, &state_path, &partial, &task)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                let error = FileError::new("read", &state_path, error);
                return Err(error).with_context(|| anew(&partial));
            }
            // A program that was killed before its first state leaves nothing that counts.
            None | Some(Err(_)) => State { records: 0, errors: 0, bytes: 0, task },
        };
        let mut file = open_locked(&partial, path)?;
        // Before anything is written: the file that is replaced may be private.
        keep_permissions(&file, path)?;
        let size = file.metadata().map_err(failed)?.len();
        if size < state.bytes {
            bail!(
                "`{}` has {size} bytes, but {} were written to it\nhint: remove it to begin anew",
                partial.display(),
                state.bytes
            );
        }
        if !ends_line(&mut file, state.bytes).map_err(|error| FileError::new("read", &partial, error))? {
            bail!(
                "`{}` was changed: its first {} bytes are not whole records\nhint: remove it to begin anew",
                partial.display(),
                state.bytes
            );
        }
        file.set_len(state.bytes).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 16, file),
            done: (state.records, state.errors),
            bytes: state.bytes,
            kept: Instant::now(),
            partial,
            state_path,
            state,
        })
    }

    /// Where the records are until the output is finished.
    pub(crate) fn unfinished(&self) -> &Path {
        &self.partial
    }

    /// Records that an earlier call wrote, and failed ones among them.
    pub(crate) fn done(&self) -> (usize, usize) {
        self.done
    }

    /// Writes text.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        self.bytes += text.len() as u64;
        let written = self.file.write_all(text.as_bytes());
        Ok(written.map_err(|error| FileError::new("write", &self.partial, error))?)
    }

    /// Makes `records` count, with `errors` failed ones, if some time has passed.
    ///
    /// # Errors
    /// As [`Partial::write`].
    pub(crate) fn keep(&mut self, records: usize, errors: usize) -> Result<()> {
        (self.state.records, self.state.errors, self.state.bytes) = (records, errors, self.bytes);
        match self.kept.elapsed() < PAUSE {
            true => Ok(()),
            false => self.store(),
        }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let failed = |error| FileError::new("write", &self.partial, error);
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_data().map_err(failed)
    }

    fn store(&mut self) -> Result<()> {
        self.flush()?;
        let state =
            serde_json::to_vec(&self.state).context("cannot write the state of the output as JSON")?;
        write_atomic(&self.state_path, |file| file.write_all(&state))?;
        self.kept = Instant::now();
        Ok(())
    }

    /// Gives the finished output its name.
    ///
    /// # Errors
    /// As [`Partial::write`].
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(|error| FileError::new("write", &self.path, error))?;
        sync_folder(&self.path)?;
        // Without an unfinished output its state is not looked at.
        match std::fs::remove_file(&self.state_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::new("remove", &self.state_path, error).into())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Partial {
    /// Whatever ended the program, the records that were written count. If this fails, they are tagged again.
    fn drop(&mut self) {
        if self.partial.exists() {
            drop(self.store());
        }
    }
}

/// Opens or creates the records `partial` of an unfinished output, which one program at a time writes. They are private if
/// there is a file at `path`, the permissions of which they then get.
fn open_locked(partial: &Path, path: &Path) -> Result<File> {
    let failed = |error| FileError::new("write", partial, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if path.exists() { 0o600 } else { 0o666 });
    let file = options.open(partial).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "`{}` is written by another hl-run\nhint: wait for it, or name another output",
                partial.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

/// The heading of an error after which nothing can be continued.
fn anew(partial: &Path) -> String {
    format!("cannot continue `{}`\nhint: remove it to begin anew", partial.display())
}

/// Whether the first `count` bytes are whole lines, as all records are.
fn ends_line(file: &mut File, count: u64) -> io::Result<bool> {
    let Some(last) = count.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

fn read(bytes: &[u8], path: &Path, partial: &Path, task: &Task) -> Result<State> {
    let state: State = serde_json::from_slice(bytes)
        .with_context(|| format!("`{}` is damaged", path.display()))
        .with_context(|| anew(partial))?;
    if state.errors > state.records {
        let State { records, errors, .. } = state;
        return Err(anyhow!("`{}` is damaged: {errors} errors in {records} records", path.display()))
            .with_context(|| anew(partial));
    }
    let names = task.keys().chain(state.task.keys());
    for name in names {
        let (before, now) = (state.task.get(name), task.get(name));
        if before == now {
            continue;
        }
        if let (Some(file), Some(_), Some(_)) = (name.strip_prefix(CHANGE), before, now) {
            bail!(
                "{file} was changed after `{}` was begun\nhint: remove `{}` to begin anew",
                partial.display(),
                partial.display()
            );
        }
        let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        bail!(
            "`{}` was begun with other settings: {name} was {}, now it is {}\n\
             hint: use the same settings, or remove `{}` to begin anew",
            partial.display(),
            show(before),
            show(now),
            partial.display()
        );
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(name: &str) -> Task {
        json!({"input": name}).as_object().cloned().unwrap()
    }

    #[test]
    fn only_bytes_that_count_are_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut first = Partial::open(&path, task("x")).unwrap();
        first.write("one\n").unwrap();
        first.keep(1, 0).unwrap();
        first.write("two, not who").unwrap();
        drop(first);
        let mut second = Partial::open(&path, task("x")).unwrap();
        assert_eq!(second.done(), (1, 0));
        second.write("two\n").unwrap();
        second.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_beginning_of_something_else_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut first = Partial::open(&path, task("x")).unwrap();
        first.write("one\n").unwrap();
        first.keep(1, 1).unwrap();
        drop(first);
        let message = Partial::open(&path, task("y")).unwrap_err().to_string();
        assert!(message.contains("input was \"x\", now it is \"y\"\nhint: "), "{message}");
        std::fs::write(beside(&path, ".partial"), "on").unwrap();
        let message = Partial::open(&path, task("x")).unwrap_err().to_string();
        assert!(message.contains("has 2 bytes, but 4 were written"), "{message}");
        // Without its state, nothing of it counts.
        std::fs::remove_file(beside(&path, ".partial.json")).unwrap();
        assert_eq!(Partial::open(&path, task("y")).unwrap().done(), (0, 0));
    }

    #[test]
    fn a_state_that_is_damaged_or_cannot_be_read_is_an_error_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let [partial, state] = files(&path);
        let mut first = Partial::open(&path, task("x")).unwrap();
        first.write("one\n").unwrap();
        first.keep(1, 0).unwrap();
        drop(first);
        let good = std::fs::read_to_string(&state).unwrap();
        let fault = || format!("{:#}", Partial::open(&path, task("x")).unwrap_err());
        for (content, message) in [
            ("", "is damaged: EOF"),
            ("{", "is damaged: EOF"),
            ("[]", "is damaged: "),
            (&*good.replace("\"records\":1", "\"records\":-1"), "is damaged: invalid value"),
            (&*good.replace("\"errors\":0", "\"errors\":2"), "is damaged: 2 errors in 1 records"),
            (&*good.replace("\"bytes\":4", "\"bytes\":3"), "its first 3 bytes are not whole records"),
        ] {
            std::fs::write(&state, content).unwrap();
            let fault = fault();
            assert!(
                fault.contains(message) && fault.contains("hint: remove it to begin anew"),
                "{content}: {fault}"
            );
            assert_eq!(std::fs::read_to_string(&partial).unwrap(), "one\n");
        }
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        assert!(fault().contains("cannot read `"), "{}", fault());
        assert_eq!(std::fs::read_to_string(&partial).unwrap(), "one\n");
    }

    #[test]
    fn a_file_that_was_changed_in_between_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, input) = (folder.path().join("a.jsonl"), folder.path().join("in.txt"));
        let task = || stamp(&input).into_iter().collect::<Task>();
        std::fs::write(&input, "one").unwrap();
        let mut first = Partial::open(&path, task()).unwrap();
        first.write("one\n").unwrap();
        first.keep(1, 0).unwrap();
        drop(first);
        assert_eq!(Partial::open(&path, task()).unwrap().done(), (1, 0));
        let later = std::time::SystemTime::now() + Duration::from_secs(7);
        File::options().append(true).open(&input).unwrap().set_modified(later).unwrap();
        let message = Partial::open(&path, task()).unwrap_err().to_string();
        assert!(message.contains("in.txt` was changed after `") && message.contains("\nhint: "), "{message}");
        std::fs::write(&input, "three").unwrap();
        let message = Partial::open(&path, task()).unwrap_err().to_string();
        assert!(message.contains("size of `") && message.contains("was 3, now it is 5"), "{message}");
    }
}
