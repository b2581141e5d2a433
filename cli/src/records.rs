//! The records of a command, in the formats `text`, `json` and `jsonl`.

use anyhow::Result;
use serde::Serialize;

use crate::args::OutputFormat;
use crate::console::Console;
use crate::output::json;

/// Writes the records of a command to stdout in one of the formats.
#[derive(Debug)]
#[must_use = "`finish` writes the end of the document"]
pub struct Records<'a> {
    console: &'a Console,
    format: OutputFormat,
    written: usize,
}

impl<'a> Records<'a> {
    /// No record is written yet.
    pub fn new(console: &'a Console, format: OutputFormat) -> Self {
        Self { console, format, written: 0 }
    }

    /// Writes a record: what `json` gives, or what `text` gives if the format is `text`. Neither ends in a line feed.
    /// `text` may have colors.
    ///
    /// # Errors
    /// If stdout cannot be written or `json` fails.
    pub fn write_with(
        &mut self,
        json: impl FnOnce() -> Result<String>,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        let first = self.written == 0;
        self.written += 1;
        match self.format {
            OutputFormat::Text => self.console.print(&format!("{}\n", text())),
            OutputFormat::Jsonl => self.console.print_data(format!("{}\n", json()?).as_bytes()),
            OutputFormat::Json => {
                let separator = if first { "[" } else { ",\n" };
                self.console.print_data(format!("{separator}{}", json()?).as_bytes())
            }
        }
    }

    /// Writes a record that can be serialized.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn write(&mut self, record: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        self.write_with(|| json(record), text)
    }

    /// Number of records so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes the end of the document.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn finish(self) -> Result<()> {
        if self.format == OutputFormat::Json {
            self.console.print_data(if self.written == 0 { b"[]\n" } else { b"]\n" })?;
        }
        self.console.flush()
    }
}
