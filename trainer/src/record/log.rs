//! The log of a training: `metrics.jsonl`, and the same values in a TensorBoard event file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, read_text, write_atomic};
use serde::Serialize;
use serde_json::{Value, json};

use super::line::METRICS;
use super::tensorboard::EventFile;

/// The log of a run, open for more lines.
pub(crate) struct Log {
    metrics: File,
    path: PathBuf,
    events: EventFile,
}

impl Log {
    /// Opens the log of a run folder, or creates it.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(crate) fn open(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(METRICS);
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| FileError::new("write", &path, e))?;
        Ok(Self { metrics, path, events: EventFile::open(folder)? })
    }

    /// Adds a line of a `kind` with the fields of `value`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn add(&mut self, kind: &str, value: &impl Serialize) -> Result<(), FileError> {
        let mut line = json!({ "kind": kind });
        if let (Some(line), Some(fields)) = (line.as_object_mut(), json!(value).as_object()) {
            line.extend(fields.clone());
        }
        writeln!(self.metrics, "{line}").map_err(|e| FileError::new("write", &self.path, e))?;
        // A value that is not a number is null in JSON, and the line does not parse: TensorBoard cannot draw it either.
        if let Ok(line) = serde_json::from_value(line) {
            self.events.record(&line)?;
        }
        Ok(())
    }
}

/// Removes the lines after `step` from the log of an interrupted run, and returns its seconds of training until then.
///
/// # Errors
/// If the file cannot be read or written.
pub(crate) fn cut(folder: &Path, step: u64) -> Result<f64, FileError> {
    let path = folder.join(METRICS);
    let text = if path.exists() { read_text(&path)? } else { String::new() };
    let mut seconds = 0.0;
    let mut kept = Vec::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        if value["step"].as_u64().is_some_and(|at| at <= step) {
            seconds = value["seconds"].as_f64().unwrap_or(seconds);
            kept.push(line);
        }
    }
    write_atomic(&path, |w| kept.iter().try_for_each(|line| writeln!(w, "{line}")))?;
    Ok(seconds)
}
