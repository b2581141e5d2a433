//! One iterator over the records of a file of any layout.

use std::io::BufRead;
use std::path::Path;

use super::conll::{ColumnReader, Kind};
use super::error::{CorpusError, LineFault};
use super::json::JsonReader;
use super::layout::Layout;
use super::options::ReadOptions;
use super::parquet::{NoStream, RowReader};
use super::plain::LineReader;
use super::reader::{Notes, Reader};
use super::record::Record;
use super::seq_in_out::PairReader;
use super::source::{self, Source};
use super::table::TableReader;
use super::{mtod, mtop};
use crate::files::FileError;

/// The records of a file, one at a time. A bad record is an error item, and reading goes on with the next one; after an error of
/// the system, of decompression or of the encoding as a whole (UTF-16) there is no further item.
///
/// Memory is bounded by the longest record (64 MiB a line) and, for CoNLL, 1,000 lines that are looked at before the first
/// sentence; for Parquet by the pages of a row group.
pub struct Records<'a>(Box<dyn Reader + 'a>);

impl<'a> Records<'a> {
    /// Records from `reader`, for instance standard input.
    ///
    /// # Panics
    /// Never; [`Layout::SeqInOut`] is read as plain text here, for it needs two files ([`Records::open`]), and
    /// [`Layout::Parquet`] is an error, for it needs a file.
    pub fn new(reader: impl BufRead + Send + 'a, layout: Layout, options: &ReadOptions) -> Self {
        let source = Source::new(reader);
        Self(match layout {
            Layout::Text | Layout::SeqInOut => Box::new(LineReader::new(source, |line| Ok(line.into()))),
            Layout::BioColumns => Box::new(ColumnReader::new(source, Kind::BioColumns, options)),
            Layout::Conll => {
                let kind = options.columns.clone().map_or(Kind::Conll, Kind::Named);
                Box::new(ColumnReader::new(source, kind, options))
            }
            Layout::Mtop => {
                let parse = if options.to_tag { mtop::parse_to_tag } else { mtop::parse_line };
                Box::new(LineReader::new(source, parse))
            }
            Layout::Mtod => {
                let parse = if options.to_tag { mtod::parse_to_tag } else { mtod::parse_line };
                Box::new(LineReader::new(source, parse))
            }
            Layout::Jsonl => Box::new(JsonReader::new(source, options)),
            Layout::Parquet => Box::new(NoStream(false)),
            Layout::Csv => Box::new(TableReader::new(source, options.separator.unwrap_or(b','), options)),
            Layout::Tsv => Box::new(TableReader::new(source, b'\t', options)),
        })
    }

    /// Records of a file; for [`Layout::SeqInOut`] of a folder with `seq.in` and `seq.out`.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(path: &Path, layout: Layout, options: &ReadOptions) -> Result<Records<'static>, FileError> {
        if layout == Layout::SeqInOut {
            let mut sources = layout.files(path).into_iter().map(|file| source::open(&file).map(Source::new));
            if let (Some(words), Some(tags)) = (sources.next(), sources.next()) {
                return Ok(Records(Box::new(PairReader::new(words?, tags?))));
            }
        }
        if layout == Layout::Parquet {
            return Ok(Records(Box::new(RowReader::open(path, options)?)));
        }
        Ok(Records::new(source::open(path)?, layout, options))
    }

    /// What was passed over so far, besides records.
    pub fn notes(&self) -> Notes {
        self.0.notes()
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, LineFault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// The layout of a file: the one given, or that of its extension.
///
/// # Errors
/// If none is given and the extension tells none.
pub fn layout_of(path: &Path, given: Option<Layout>) -> Result<Layout, CorpusError> {
    given
        .or_else(|| Layout::from_extension(&source::inner_extension(path)?))
        .ok_or_else(|| CorpusError::NoLayout { path: path.to_owned(), known: Layout::known() })
}
