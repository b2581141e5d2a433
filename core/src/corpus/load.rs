//! Files to checked sentences for training: every record must be good.

use std::path::{Path, PathBuf};

use super::convert::{Converter, Making};
use super::error::{CorpusError, LineFault};
use super::layout::Layout;
use super::options::ReadOptions;
use super::record::Record;
use super::records::Records;
use super::report::ReadReport;
use super::sentence::Sentence;
use super::survey::Survey;
use crate::files::check_regular;

/// The records of a file, before they are sentences.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    pub(super) records: Vec<Record>,
    converter: Converter,
}

impl Draft {
    /// Reads a file.
    ///
    /// # Errors
    /// If the file cannot be read, a record is bad, tags fit no scheme, or there is no annotation.
    pub(super) fn read(path: &Path, layout: Layout, options: &ReadOptions) -> Result<Self, CorpusError> {
        let files = layout.files(path);
        files.iter().try_for_each(|file| check_regular(file))?;
        let named = files.into_iter().next().unwrap_or_default();
        let records = Records::open(path, layout, options)?;
        Self::of(records, &named, layout, options)
    }

    pub(super) fn of(
        mut records: Records<'_>,
        path: &Path,
        layout: Layout,
        options: &ReadOptions,
    ) -> Result<Self, CorpusError> {
        let mut survey = Survey::new(layout, options.overlap);
        survey.begin(path);
        let mut kept = Vec::new();
        for record in &mut records {
            let record = record.map_err(|fault| fault.in_file(path))?;
            if survey.add(&record)? {
                kept.push(record);
            }
        }
        survey.note(records.notes());
        let converter = survey.finish(path, options)?;
        Ok(Self { path: path.to_owned(), records: kept, converter })
    }

    /// The report on reading the file so far.
    pub(super) fn report(&mut self) -> &mut ReadReport {
        &mut self.converter.report
    }

    /// The sentences, and what reading did.
    ///
    /// # Errors
    /// If a sentence breaks what [`Sentence`] promises, or two labels become one.
    pub(super) fn finish(
        mut self,
        mut making: Making<'_>,
    ) -> Result<(Vec<Sentence>, ReadReport), CorpusError> {
        let sentence = |record| self.converter.sentence(record, &mut making);
        let sentences: Result<Vec<Sentence>, LineFault> = self.records.into_iter().map(sentence).collect();
        Ok((sentences.map_err(|fault| fault.in_file(&self.path))?, self.converter.report))
    }
}
