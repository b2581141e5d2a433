//! Rows of Parquet files, in the forms of [`row`].

use std::io;
use std::path::Path;

use super::error::{Fault, LineFault};
use super::options::ReadOptions;
use super::reader::Reader;
use super::record::Record;
use super::row;
use crate::files::FileError;
use crate::parquet::Rows;

/// Reads the rows of a file. The line of a record is the number of its row.
pub(super) struct RowReader {
    rows: Rows,
    options: ReadOptions,
    row: usize,
}

impl RowReader {
    /// Opens a file. Tags that are numbers have the names that `options` give, else those of the file.
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, FileError> {
        let rows = Rows::open(path)?;
        let mut options = options.clone();
        if options.tag_names.is_empty() {
            let given = options.fields.tags.as_deref();
            let mut columns = given.into_iter().chain(row::TAGS.into_iter().filter(|_| given.is_none()));
            options.tag_names = columns.find_map(|column| rows.class_names(column)).unwrap_or_default();
        }
        Ok(Self { rows, options, row: 0 })
    }
}

impl Reader for RowReader {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        let row = self.rows.next()?;
        self.row += 1;
        let record = row.map_err(Fault::Read).and_then(|row| row::record(row, &self.options));
        Some(match record {
            Ok(record) => Ok(Record { line: self.row, ..record }),
            Err(fault) => Err(LineFault::new(self.row, fault)),
        })
    }
}

/// Reader of a stream: returns one error, because the index of a Parquet file is at its end.
pub(super) struct NoStream(pub(super) bool);

impl Reader for NoStream {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        let reason = "Parquet cannot be read from a stream\nhint: name the file";
        let fault = || LineFault::new(1, Fault::Read(io::Error::other(reason)));
        (!std::mem::replace(&mut self.0, true)).then(|| Err(fault()))
    }
}
