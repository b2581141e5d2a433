//! JSON Lines, JSON arrays of records, and JSON values one after the other.

use serde_json::Value;

use super::array::Place;
use super::error::{Fault, LineFault};
use super::numbers;
use super::options::ReadOptions;
use super::reader::Reader;
use super::record::Record;
use super::row;
use super::source::{Line, Source};

/// Reads JSON of one record per line, or of records that span lines.
pub(super) struct JsonReader<'a> {
    source: Source<'a>,
    options: ReadOptions,
    mode: Option<Mode>,
}

#[derive(Clone, Copy)]
enum Mode {
    /// A record per line; blank lines are skipped.
    Lines,
    /// Values, in an array or one after the other.
    Values(Place),
}

impl<'a> JsonReader<'a> {
    pub(super) fn new(source: Source<'a>, options: &ReadOptions) -> Self {
        Self { source, options: options.clone(), mode: None }
    }

    /// A line that is `{` alone, or an array of anything but a text first, begins values that span lines.
    fn mode(&mut self) -> Result<Mode, LineFault> {
        let beginning = self.source.beginning()?;
        let values = match beginning.first() {
            Some(b'{') => {
                let line = beginning[1..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                line.trim_ascii().is_empty() && beginning.len() > 1
            }
            Some(b'[') => beginning[1..].trim_ascii_start().first() != Some(&b'"'),
            _ => false,
        };
        let place = if beginning.first() == Some(&b'[') { Place::Before } else { Place::Loose };
        Ok(if values { Mode::Values(place) } else { Mode::Lines })
    }

    fn line(&mut self) -> Option<Result<Line, LineFault>> {
        loop {
            let line = match self.mode {
                None => match self.mode() {
                    Ok(mode) => {
                        self.mode = Some(mode);
                        continue;
                    }
                    Err(fault) => return Some(Err(fault)),
                },
                Some(Mode::Lines) => self.source.line(),
                Some(Mode::Values(mut place)) => {
                    let value = self.source.value(&mut place);
                    self.mode = Some(Mode::Values(place));
                    value
                }
            };
            if !line.as_ref().is_some_and(|line| line.as_ref().is_ok_and(|line| line.text.trim().is_empty()))
            {
                return line;
            }
        }
    }
}

impl Reader for JsonReader<'_> {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        let Line { number, text } = match self.line()? {
            Ok(line) => line,
            Err(fault) => return Some(Err(fault)),
        };
        let to_tag = self.options.to_tag;
        let value = if to_tag { numbers::parse(&text) } else { serde_json::from_str::<Value>(&text) };
        let value = value.map_err(|error| Fault::Json { layout: "jsonl", reason: reason(&error) });
        let record = value.and_then(|value| row::record(value, &self.options));
        Some(match record {
            Ok(record) => {
                let exact = if to_tag { numbers::exact_fields(&text) } else { record.exact };
                Ok(Record { line: number, exact, ..record })
            }
            Err(fault) => Err(LineFault::new(number, fault)),
        })
    }
}

/// serde's message; its line counts within the record.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) if error.line() <= 1 => format!("{reason} at column {}", error.column()),
        Some((reason, _)) => {
            format!("{reason} at column {}, {} lines below", error.column(), error.line() - 1)
        }
        None => text,
    }
}
