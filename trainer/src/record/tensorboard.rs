//! TensorBoard event files: the values of `metrics.jsonl` as scalars, which TensorBoard draws while a run trains.
//!
//! A file is a sequence of TFRecords, each a protobuf message between its length and a checksum (TensorFlow's
//! `core/lib/io/record_writer.h`). This module defines the few messages that it needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hyperloader_core::files::FileError;
use prost::Message;

use super::line::Line;
use crate::evaluate::Evaluation;

/// The beginning of the name of every event file.
pub const PREFIX: &str = "events.out.tfevents.";
const VERSION: &str = "brain.Event:2";
/// The number of bytes of a record before its data: the length and its checksum.
const HEADER: usize = 12;

/// TensorFlow's `Event`.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// The number of updates so far.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// `brain.Event:2` in the first event of a file.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    /// Scalars.
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
    /// Set where a program started or resumed the run.
    #[prost(message, optional, tag = "7")]
    pub session_log: Option<SessionLog>,
}

/// TensorFlow's `Summary`.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Scalars of one step.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// TensorFlow's `Summary.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The name of the scalar. TensorBoard groups plots by the part before `/`.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// Scalar in single precision, as TensorBoard reads it.
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

/// TensorFlow's `SessionLog`.
#[derive(Clone, PartialEq, Message)]
pub struct SessionLog {
    /// [`SessionLog::START`].
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl SessionLog {
    /// A program started at the step of this event. Earlier events of this step and later ones are obsolete.
    pub const START: i32 = 1;
}

/// The event file of a run, open for more events.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
    /// Whether the next event must first mark a resumed run.
    resumed: bool,
}

impl EventFile {
    /// Opens the event file of a run folder, or creates one. An incomplete record at the end of the file is removed. The next
    /// event tells TensorBoard to drop the events of its step and later ones.
    ///
    /// # Errors
    /// If the folder or file cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        if let Some(path) = newest(folder)? {
            let failed = |action| move |path: &Path, e| FileError::new(action, path, e);
            let bytes = std::fs::read(&path).map_err(|e| failed("read")(&path, e))?;
            let mut file =
                OpenOptions::new().write(true).open(&path).map_err(|e| failed("write")(&path, e))?;
            let whole: usize = Records(&bytes).map(|data| HEADER + data.len() + 4).sum();
            let cut = file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0)));
            cut.map_err(|e| failed("write")(&path, e))?;
            let mut events = Self { file, path, resumed: true };
            if whole == 0 {
                events.begin()?;
            }
            return Ok(events);
        }
        let path = folder.join(format!("{PREFIX}{:010}.hyperloader", now() as u64));
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.map_err(|e| FileError::new("create", &path, e))?;
        let mut events = Self { file, path, resumed: false };
        events.begin()?;
        Ok(events)
    }

    fn begin(&mut self) -> Result<(), FileError> {
        self.resumed = false;
        self.append(&Event { wall_time: now(), file_version: Some(VERSION.to_owned()), ..Event::default() })
    }

    /// Adds the scalars of a line of `metrics.jsonl`. Lines of an unknown kind have none.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(&mut self, line: &Line) -> Result<(), FileError> {
        let Some((step, scalars)) = scalars(line) else { return Ok(()) };
        let (wall_time, step) = (now(), step as i64);
        if std::mem::take(&mut self.resumed) {
            let session_log = Some(SessionLog { status: SessionLog::START });
            self.append(&Event { wall_time, step, session_log, ..Event::default() })?;
        }
        let value = |(tag, value)| Value { tag, simple_value: Some(value as f32) };
        let summary = Some(Summary { value: scalars.into_iter().map(value).collect() });
        self.append(&Event { wall_time, step, summary, ..Event::default() })
    }

    fn append(&mut self, event: &Event) -> Result<(), FileError> {
        let written = self.file.write_all(&record(&event.encode_to_vec()));
        written.map_err(|e| FileError::new("write", &self.path, e))
    }
}

/// The step of a line and its scalars by tag.
fn scalars(line: &Line) -> Option<(u64, Vec<(String, f64)>)> {
    let of = |split: &str, task: &str, evaluation: &Evaluation| {
        let Evaluation { loss, f1, precision, recall, .. } = evaluation;
        let values = [("loss", loss), ("f1", f1), ("precision", precision), ("recall", recall)];
        values.map(|(name, value)| (format!("{split}_{name}/{task}"), *value))
    };
    match line {
        Line::Train(step) => {
            let values = vec![
                (format!("train_loss/{}", step.task), step.loss),
                (format!("train_loss_above_floor/{}", step.task), step.loss_above_floor),
                ("optimizer/grad_norm".to_owned(), step.grad_norm),
                ("optimizer/learning_rate".to_owned(), step.learning_rate),
            ];
            Some((step.step, values))
        }
        Line::Validation { step, task, evaluation } => {
            Some((*step, of("validation", task, evaluation).into()))
        }
        Line::Outcome { best_step, test, .. } if !test.is_empty() => {
            Some((*best_step, test.iter().flat_map(|(task, e)| of("test", task, e)).collect()))
        }
        Line::Outcome { .. } | Line::Other => None,
    }
}

/// The newest event file.
fn newest(folder: &Path) -> Result<Option<PathBuf>, FileError> {
    let failed = |e: io::Error| FileError::new("read", folder, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(entry.path());
        }
    }
    Ok(found.into_iter().max())
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// CRC-32C, rotated and shifted as in TFRecords.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// `data` as a TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// The data of each record, up to the first incomplete or damaged one.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (header, rest) = self.0.split_at_checked(HEADER)?;
        let length: [u8; 8] = header[..8].try_into().ok()?;
        if masked_crc(&length) != header[8..] {
            return None;
        }
        let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
        let (crc, rest) = rest.split_at_checked(4)?;
        if masked_crc(data) != crc {
            return None;
        }
        self.0 = rest;
        Some(data)
    }
}

/// The events of a file, up to the first incomplete or damaged record.
///
/// # Errors
/// If the file cannot be read, or the data of a record is not an event.
pub fn read(path: &Path) -> Result<Vec<Event>, FileError> {
    let failed = |e| FileError::new("read", path, e);
    let bytes = std::fs::read(path).map_err(failed)?;
    Records(&bytes).map(|data| Event::decode(data).map_err(|e| failed(io::Error::other(e)))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::line::Step;

    fn step(step: u64, loss: f64) -> Line {
        let task = "snips".to_owned();
        let (loss_above_floor, grad_norm, learning_rate) = (loss - 1.0, 2.0, 0.5);
        Line::Train(Step {
            step,
            task,
            loss,
            loss_above_floor,
            grad_norm,
            learning_rate,
            tokens: 3,
            seconds: 1.0,
        })
    }

    fn losses(events: &[Event]) -> Vec<(i64, f32)> {
        let loss = |event: &Event| {
            let values = &event.summary.as_ref()?.value;
            let value = values.iter().find(|value| value.tag == "train_loss/snips")?;
            Some((event.step, value.simple_value?))
        };
        events.iter().filter_map(loss).collect()
    }

    #[test]
    fn a_record_has_the_bytes_that_tensorflow_writes() {
        // RFC 3720, B.4: CRC-32C of 32 zero bytes.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        // An event of `wall_time` 1 and the file version, as TensorFlow frames it.
        let version = Event { wall_time: 1.0, file_version: Some(VERSION.to_owned()), ..Event::default() };
        let data = version.encode_to_vec();
        assert_eq!(data, b"\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0dbrain.Event:2");
        let framed = record(&data);
        assert_eq!(framed[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(framed.len(), HEADER + 24 + 4);
        assert_eq!(Records(&framed).collect::<Vec<_>>(), [data]);
    }

    #[test]
    fn a_resumed_file_marks_the_events_that_it_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::open(folder.path()).unwrap();
        for (at, loss) in [(10, 4.0), (20, 3.0), (30, 2.0)] {
            events.record(&step(at, loss)).unwrap();
        }
        let path = newest(folder.path()).unwrap().unwrap();
        drop(events);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();

        let mut events = EventFile::open(folder.path()).unwrap();
        events.record(&step(20, 3.5)).unwrap();
        events.record(&step(30, 2.5)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let events = read(&path).unwrap();
        assert_eq!(events[0].file_version.as_deref(), Some(VERSION));
        assert_eq!(losses(&events), [(10, 4.0), (20, 3.0), (20, 3.5), (30, 2.5)]);
        let start = events.iter().position(|event| event.session_log.is_some()).unwrap();
        assert_eq!((events[start].step, losses(&events[..start]).len()), (20, 2));
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_complete_records_and_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::open(folder.path()).unwrap();
        events.record(&step(10, 4.0)).unwrap();
        let path = newest(folder.path()).unwrap().unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            EventFile::open(folder.path()).unwrap().record(&step(20, 3.0)).unwrap();
            let events = read(&path).unwrap();
            assert_eq!(events[0].file_version.as_deref(), Some(VERSION), "cut at byte {cut}");
            assert_eq!(losses(&events), [(20, 3.0)], "cut at byte {cut}");
        }
    }

    #[test]
    fn reading_stops_at_a_damaged_record() {
        let mut bytes = [record(b"one"), record(b"two"), record(b"three")].concat();
        let second = record(b"one").len();
        bytes[second + HEADER] ^= 1;
        assert_eq!(Records(&bytes).collect::<Vec<_>>(), [b"one"]);
        let huge = [&u64::MAX.to_le_bytes()[..], &masked_crc(&u64::MAX.to_le_bytes())].concat();
        assert_eq!(Records(&huge).count(), 0);
    }
}
