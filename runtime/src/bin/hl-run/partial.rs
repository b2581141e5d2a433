//! An output that a later call continues: whole records in `FILE.partial`, and beside it how many of its bytes count.
//!
//! Records are written first, then `FILE.partial.json` is replaced, which names their number and size. A program that is killed in
//! between leaves bytes that do not count; the next call cuts them off.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyperloader_core::files::{FileError, sync_folder, write_atomic};
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

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

impl Partial {
    /// Opens the unfinished output of `path`, or begins one.
    ///
    /// # Errors
    /// If it was written for another task, or files cannot be read and written.
    pub(crate) fn open(path: &Path, task: Task) -> Result<Self> {
        let (partial, state_path) = (beside(path, ".partial"), beside(path, ".partial.json"));
        let failed = |error| FileError::new("write", &partial, error);
        let state = match partial.exists().then(|| std::fs::read(&state_path)) {
            Some(Ok(bytes)) => read(&bytes, &state_path, &partial, &task)?,
            _ => State { records: 0, errors: 0, bytes: 0, task },
        };
        let options = &mut OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).open(&partial).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size < state.bytes {
            bail!(
                "`{}` has {size} bytes, but {} were written to it\nhint: remove it to begin anew",
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

fn read(bytes: &[u8], path: &Path, partial: &Path, task: &Task) -> Result<State> {
    let state: State = serde_json::from_slice(bytes)
        .with_context(|| format!("cannot read `{}`\nhint: remove it to begin anew", path.display()))?;
    let names = task.keys().chain(state.task.keys());
    for name in names {
        let (before, now) = (state.task.get(name), task.get(name));
        if before != now {
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
        // A program that was killed before its first state leaves nothing that counts.
        std::fs::remove_file(beside(&path, ".partial.json")).unwrap();
        assert_eq!(Partial::open(&path, task("y")).unwrap().done(), (0, 0));
    }
}
