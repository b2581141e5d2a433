//! Layouts of one record per line.

use super::error::{Fault, LineFault};
use super::reader::Reader;
use super::record::Record;
use super::source::{Line, Source};

/// Reads each line by a function.
pub(super) struct LineReader<'a> {
    source: Source<'a>,
    parse: fn(Line) -> Result<Record, Fault>,
}

impl<'a> LineReader<'a> {
    pub(super) fn new(source: Source<'a>, parse: fn(Line) -> Result<Record, Fault>) -> Self {
        Self { source, parse }
    }
}

impl Reader for LineReader<'_> {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        let line = match self.source.line()? {
            Ok(line) => line,
            Err(fault) => return Some(Err(fault)),
        };
        let number = line.number;
        Some((self.parse)(line).map_err(|fault| LineFault::new(number, fault)))
    }
}

/// A line of plain text.
impl From<Line> for Record {
    fn from(Line { number, text }: Line) -> Self {
        Self { line: number, text: Some(text), ..Self::default() }
    }
}
