//! A training split in several files, read one sentence at a time: it need not fit in memory.
//!
//! The files are read twice. The first reading, the survey, finds everything that must be known of all records before one of
//! them becomes a sentence: the scheme of the tags, the labels, how free text is cut into words. The second yields sentences.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::slice::Iter;

use super::convert::{Converter, Making};
use super::error::CorpusError;
use super::layout::Layout;
use super::options::ReadOptions;
use super::pattern;
use super::records::{Records, layout_of};
use super::report::ReadReport;
use super::sentence::Sentence;
use super::survey::{Survey, left_out};
use super::transform::LabelTransform;
use super::word_rule::Fits;
use crate::text::words::{WordFit, WordSplitting};

/// The files of a training split, in the order of their names, after the first reading.
#[derive(Debug)]
pub struct Shards {
    files: Vec<PathBuf>,
    layout: Layout,
    converter: Converter,
    transform: LabelTransform,
    /// The number of sentences.
    pub sentences: usize,
    /// What labels were before their case was changed, by what they are after it.
    pub labels: BTreeMap<String, String>,
    /// How free text is cut into words.
    pub words: WordSplitting,
    /// How well that reproduces the tokens of the files, if they have tokens.
    pub word_fit: Option<WordFit>,
}

/// How a split in several files is read.
pub(super) struct ShardSettings<'a> {
    pub(super) layout: Option<Layout>,
    pub(super) options: ReadOptions,
    pub(super) labels: &'a super::transform::Labels,
    pub(super) words: Option<WordSplitting>,
}

/// The files of a split: those that match if `path` is a pattern, else `path` itself.
///
/// # Errors
/// If the layout is one of two files, no file matches, or `path` or a match is not a regular file.
pub(super) fn files(path: &Path, given: Option<Layout>) -> Result<Vec<PathBuf>, CorpusError> {
    match given {
        // Its folder is not a regular file, which would be the error otherwise.
        Some(layout @ Layout::SeqInOut) => Err(CorpusError::NoStream(layout.name())),
        _ => Ok(pattern::files(path)?),
    }
}

/// The layout of all files.
fn layout_of_all(files: &[PathBuf], given: Option<Layout>) -> Result<Layout, CorpusError> {
    let first = layout_of(&files[0], given)?;
    for other in &files[1..] {
        let second = layout_of(other, given)?;
        if second != first {
            let paths = Box::new((files[0].clone(), other.clone()));
            return Err(CorpusError::Layouts { paths, first: first.name(), second: second.name() });
        }
    }
    Ok(first)
}

impl Shards {
    /// Reads the files at `path` for the first time. `each` is called with the number of records before each of them, and ends
    /// the reading where it breaks.
    ///
    /// # Errors
    /// If a file cannot be read, a record is bad, tags fit no scheme together, there is no annotation, or a label cannot be
    /// used.
    pub(super) fn survey<B>(
        path: &Path,
        settings: &ShardSettings<'_>,
        each: &mut dyn FnMut(usize) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Self>, CorpusError> {
        let ShardSettings { layout, options, labels: rewriting, words } = settings;
        let files = files(path, *layout)?;
        let layout = layout_of_all(&files, *layout)?;
        let (mut survey, mut fits) = (Survey::new(layout, options.overlap), Fits::default());
        for file in &files {
            survey.begin(file);
            let mut records = Records::open(file, layout, options)?;
            for record in &mut records {
                if let ControlFlow::Break(reason) = each(survey.records()) {
                    return Ok(ControlFlow::Break(reason));
                }
                let record = record.map_err(|fault| fault.in_file(file))?;
                if survey.add(&record)? {
                    fits.add(&record);
                }
            }
            survey.note(records.notes());
        }
        let mut converter = survey.finish(path, options)?;
        let (words, word_fit) = fits.choice(*words, layout.words());
        converter.report.words = word_fit;
        let (transform, mut labels) = (rewriting.transform(layout), BTreeMap::new());
        let mut making = Making { words, transform: transform.clone(), labels: &mut labels };
        survey.collect_labels(converter.recognized.as_ref(), &mut making)?;
        let sentences = survey.kept();
        let shards = Self { files, layout, converter, transform, sentences, labels, words, word_fit };
        Ok(ControlFlow::Continue(shards))
    }

    /// Reads the files for the second time.
    pub fn read(&mut self) -> Sentences<'_> {
        let Self { files, layout, converter, transform, labels, words, .. } = self;
        let making = Making { words: *words, transform: transform.clone(), labels };
        Sentences { files: files.iter(), open: None, layout: *layout, converter, making }
    }

    /// What both readings did, after the second.
    pub fn report(&self) -> &ReadReport {
        &self.converter.report
    }
}

/// The sentences of some files, one after the other. After an error there is no further one.
pub struct Sentences<'a> {
    files: Iter<'a, PathBuf>,
    open: Option<(&'a Path, Records<'static>)>,
    layout: Layout,
    converter: &'a mut Converter,
    making: Making<'a>,
}

impl Sentences<'_> {
    fn sentence(&mut self) -> Result<Option<Sentence>, CorpusError> {
        loop {
            let Some((file, records)) = &mut self.open else {
                let Some(file) = self.files.next() else { return Ok(None) };
                self.open = Some((file, Records::open(file, self.layout, &self.converter.options)?));
                continue;
            };
            let Some(record) = records.next() else {
                self.open = None;
                continue;
            };
            let record = record.map_err(|fault| fault.in_file(file))?;
            if left_out(&record).is_none() {
                let sentence = self.converter.sentence(record, &mut self.making);
                return sentence.map(Some).map_err(|fault| fault.in_file(file));
            }
        }
    }
}

impl Iterator for Sentences<'_> {
    type Item = Result<Sentence, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let sentence = self.sentence();
        if sentence.is_err() {
            (self.files, self.open) = ([].iter(), None);
        }
        sentence.transpose()
    }
}
