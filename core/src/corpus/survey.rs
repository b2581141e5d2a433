//! What must be known of all records of a corpus before the first of them becomes a sentence: whether they are annotated, and
//! the scheme of their tags.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::align::{SpanCounts, settle};
use super::convert::{Converter, Making, check_word};
use super::error::{CorpusError, Fault, LineFault};
use super::layout::Layout;
use super::options::{Overlap, ReadOptions};
use super::reader::Notes;
use super::record::{CharSpan, Gold, LeftOut, Record};
use super::report::{ReadReport, TagReport};
use crate::text::scheme::Recognized;
use crate::text::scheme_observer::SchemeObserver;
use crate::text::spans::Bio;
use crate::text::words::is_whitespace;

/// Counts records, one at a time, of one file or of several.
#[derive(Debug)]
pub(super) struct Survey {
    report: ReadReport,
    places: Places,
    /// What the first record has in place of annotation.
    first: Option<String>,
    annotated: bool,
    /// The place of the first record that has words and neither tags nor a text.
    without_tags: Option<usize>,
    observer: SchemeObserver,
    /// The number of tags, if there are tags.
    tags: Option<usize>,
    overlap: Overlap,
    /// The labels of spans as they stand in the files, and the place of the first span of each. Spans that are left out because
    /// they overlap with another do not count.
    span_labels: BTreeMap<String, usize>,
}

impl Survey {
    pub(super) fn new(layout: Layout, overlap: Overlap) -> Self {
        Self {
            report: ReadReport::new(layout),
            places: Places::default(),
            first: None,
            annotated: false,
            without_tags: None,
            observer: SchemeObserver::default(),
            tags: None,
            overlap,
            span_labels: BTreeMap::new(),
        }
    }

    /// The next records are those of this file.
    pub(super) fn begin(&mut self, path: &Path) {
        self.places.begin(path);
    }

    /// Counts a record. Returns whether it becomes a sentence.
    ///
    /// # Errors
    /// If a word has a character that no text has.
    pub(super) fn add(&mut self, record: &Record) -> Result<bool, CorpusError> {
        let place = self.places.of(record);
        for (index, word) in record.words.iter().flatten().enumerate().filter(|(_, word)| word.contains('\0'))
        {
            if let Err(fault) = check_word(index, word) {
                return Err(self.places.error(place + record.word_line(index) - record.line, fault));
            }
        }
        let report = &mut self.report;
        report.records += 1;
        report.further_annotations += record.further_annotations;
        if let Some(reason) = left_out(record) {
            *report.left_out.entry(reason).or_default() += 1;
            return Ok(false);
        }
        let layout = report.layout;
        self.first.get_or_insert_with(|| not_annotated(record, layout));
        match &record.gold {
            Gold::Tags(tags) => {
                self.observer.observe(tags, |word| place + record.word_line(word) - record.line);
                *self.tags.get_or_insert(0) += tags.len();
            }
            Gold::Spans(spans) => {
                for label in labels_of(spans, record, self.overlap).iter() {
                    if !self.span_labels.contains_key(&**label) {
                        self.span_labels.insert(label.to_string(), place);
                    }
                }
            }
            Gold::None if record.text.is_none() => {
                self.without_tags.get_or_insert(place);
            }
            Gold::None => report.without_spans += 1,
        }
        self.annotated |= record.gold != Gold::None;
        Ok(true)
    }

    /// Adds what the reader of a file passed over.
    pub(super) fn note(&mut self, notes: Notes) {
        self.report.comments += notes.comments;
        self.report.document_starts += notes.document_starts;
        self.report.index_column |= notes.index_column;
    }

    /// The number of records so far.
    pub(super) fn records(&self) -> usize {
        self.report.records
    }

    /// The number of records that become sentences.
    pub(super) fn kept(&self) -> usize {
        self.report.records - self.report.left_out.values().sum::<usize>()
    }

    /// How the records become sentences. `path` names all files in errors.
    ///
    /// # Errors
    /// If all records are left out, none is annotated, one has no tags and others have, or the tags fit no scheme.
    pub(super) fn finish(&mut self, path: &Path, options: &ReadOptions) -> Result<Converter, CorpusError> {
        let Some(found) = &self.first else {
            let counts = self.report.left_out.iter();
            let counts: Vec<String> =
                counts.map(|(reason, count)| format!("{count} {}", reason.reason())).collect();
            let left_out = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
            return Err(CorpusError::NoSentences { path: path.to_owned(), left_out });
        };
        if !self.annotated {
            return Err(CorpusError::NoAnnotation { path: path.to_owned(), found: found.clone() });
        }
        if let Some(place) = self.without_tags {
            return Err(self.places.error(place, Fault::Keys { keys: "`tokens` and no tags".to_owned() }));
        }
        let recognized = self.recognize(options)?;
        Ok(Converter { options: options.clone(), recognized, report: self.report.clone() })
    }

    /// Recognizes the scheme of the tags, if there are tags.
    fn recognize(&mut self, options: &ReadOptions) -> Result<Option<Recognized>, CorpusError> {
        let Some(tags) = self.tags else { return Ok(None) };
        let recognized = self.observer.recognize(options.scheme, options.label.as_deref());
        let recognized = recognized.map_err(|error| self.places.error(error.line(), error.into()))?;
        self.report.tags =
            Some(TagReport { recognized: recognized.clone(), tags, converted: 0, repaired: 0 });
        Ok(Some(recognized))
    }

    /// Adds all labels to those of `making`.
    ///
    /// # Errors
    /// If a label cannot be used, or two labels become one.
    pub(super) fn collect_labels(
        &self,
        recognized: Option<&Recognized>,
        making: &mut Making<'_>,
    ) -> Result<(), CorpusError> {
        let mut add = |label: &str, place| {
            making.label(label).map(drop).map_err(|fault| self.places.error(place, fault))
        };
        for (label, place) in &self.span_labels {
            add(label, *place)?;
        }
        for (tag, place) in self.observer.tags() {
            let converted = recognized.and_then(|recognized| recognized.convert(&[tag]).ok());
            for tag in converted.iter().flat_map(|converted| &converted.tags) {
                if let Some(label) = Bio::parse(tag).and_then(Bio::label) {
                    add(label, place)?;
                }
            }
        }
        Ok(())
    }
}

/// The lines of several files as one sequence of places.
#[derive(Debug, Default)]
struct Places {
    /// Each file, and the place before its first line.
    files: Vec<(usize, PathBuf)>,
    /// The last place so far.
    last: usize,
}

impl Places {
    fn begin(&mut self, path: &Path) {
        self.files.push((self.last, path.to_owned()));
    }

    /// The place of a record of the last file.
    fn of(&mut self, record: &Record) -> usize {
        let before = self.files.last().map_or(0, |(before, _)| *before);
        let end = record.word_lines.last().copied().unwrap_or(record.line);
        self.last = self.last.max(before + end);
        before + record.line
    }

    /// The error of a place, with its file and line.
    fn error(&self, place: usize, fault: Fault) -> CorpusError {
        let file = self.files.iter().rfind(|(before, _)| *before < place);
        let (before, path) = file.or(self.files.first()).map_or((0, Path::new("")), |(b, path)| (*b, path));
        LineFault::new(place - before, fault).in_file(path)
    }
}

/// The labels of the spans that a sentence is made of. Where overlaps are an error, those of all spans: the sentence reports it.
fn labels_of<'a>(spans: &'a [CharSpan], record: &Record, overlap: Overlap) -> Vec<Cow<'a, str>> {
    if overlap != Overlap::Error && spans.len() > 1 {
        let text = record.text.as_deref().unwrap_or_default();
        if let Ok(kept) = settle(text, spans.to_vec(), overlap, &mut SpanCounts::default()) {
            return kept.into_iter().map(|span| span.label.into()).collect();
        }
    }
    spans.iter().map(|span| span.label.as_str().into()).collect()
}

/// Why a record becomes no sentence, if so.
pub(super) fn left_out(record: &Record) -> Option<LeftOut> {
    record.left_out.or_else(|| empty(record))
}

/// [`LeftOut::Empty`] for a text without words in which nothing is marked.
fn empty(record: &Record) -> Option<LeftOut> {
    let is_unmarked = match &record.gold {
        Gold::None => true,
        Gold::Spans(spans) => spans.is_empty(),
        Gold::Tags(_) => false,
    };
    let text = record.text.as_deref().filter(|_| record.words.is_none() && is_unmarked)?;
    text.chars().all(is_whitespace).then_some(LeftOut::Empty)
}

/// What a file without annotation holds instead.
fn not_annotated(first: &Record, layout: Layout) -> String {
    let mut keys: Vec<&str> = Vec::new();
    keys.extend(first.text.as_ref().map(|_| "text"));
    keys.extend(first.words.as_ref().map(|_| "words"));
    keys.extend(first.fields.keys().map(String::as_str).take(12));
    let keys: Vec<String> = keys.into_iter().map(|key| format!("`{key}`")).collect();
    match layout {
        Layout::Text => {
            "layout `text` is text alone\nhint: name the layout of a corpus with tags or spans".to_owned()
        }
        _ => format!(
            "no record has tags or spans; the first has {}\n\
             hint: other names can be given, for instance `fields = {{ spans = \"marks\" }}`",
            keys.join(", ")
        ),
    }
}
