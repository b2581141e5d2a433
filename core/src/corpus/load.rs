//! Files to checked sentences for training: every record must be good, and tags of every scheme become BIO.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::align::{SpanCounts, settle, tag_words};
use super::error::{CorpusError, Fault, LineFault};
use super::layout::Layout;
use super::options::ReadOptions;
use super::record::{Gold, LeftOut, Record};
use super::records::Records;
use super::report::{ReadReport, TagReport};
use super::sentence::Sentence;
use super::transform::LabelTransform;
use crate::files::check_regular;
use crate::text::labels::too_long;
use crate::text::scheme::Recognized;
use crate::text::scheme_observer::SchemeObserver;
use crate::text::spans::Bio;
use crate::text::words::{WordSplitting, is_whitespace};

/// The records of a file, before they are sentences.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    options: ReadOptions,
    pub(super) records: Vec<Record>,
    recognized: Option<Recognized>,
    pub(super) report: ReadReport,
}

/// How records become sentences.
pub(super) struct Making<'a> {
    pub(super) words: WordSplitting,
    pub(super) transform: LabelTransform,
    /// What labels were before their case was changed, by what they are after it; over all files of a corpus.
    pub(super) labels: &'a mut BTreeMap<String, String>,
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
        let mut report = ReadReport::new(layout);
        let mut kept = Vec::new();
        for record in &mut records {
            let record = record.map_err(|fault| fault.in_file(path))?;
            if let Some(place) = record.words.iter().flatten().position(|word| word.contains('\0')) {
                let fault =
                    check_word(place, &record.words.iter().flatten().nth(place).cloned().unwrap_or_default());
                let fault = fault.err().map(|fault| LineFault::new(record.word_line(place), fault));
                if let Some(fault) = fault {
                    return Err(fault.in_file(path));
                }
            }
            report.records += 1;
            report.further_annotations += record.further_annotations;
            match record.left_out.or_else(|| empty(&record)) {
                Some(reason) => *report.left_out.entry(reason).or_default() += 1,
                None => kept.push(record),
            }
        }
        let notes = records.notes();
        (report.comments, report.document_starts, report.index_column) =
            (notes.comments, notes.document_starts, notes.index_column);
        let mut draft =
            Self { path: path.to_owned(), options: options.clone(), records: kept, recognized: None, report };
        draft.check_annotation()?;
        draft.recognize()?;
        Ok(draft)
    }

    /// Texts without a field of spans hold none, if other records of the file are annotated.
    fn check_annotation(&mut self) -> Result<(), CorpusError> {
        let Some(first) = self.records.first() else {
            let counts = self.report.left_out.iter();
            let counts: Vec<String> =
                counts.map(|(reason, count)| format!("{count} {}", reason.reason())).collect();
            let left_out = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
            return Err(CorpusError::NoSentences { path: self.path.clone(), left_out });
        };
        if self.records.iter().all(|record| record.gold == Gold::None) {
            let found = not_annotated(first, self.report.layout);
            return Err(CorpusError::NoAnnotation { path: self.path.clone(), found });
        }
        for record in &mut self.records {
            if record.gold == Gold::None {
                if record.text.is_none() {
                    let keys = "`tokens` and no tags".to_owned();
                    return Err(LineFault::new(record.line, Fault::Keys { keys }).in_file(&self.path));
                }
                record.gold = Gold::Spans(Vec::new());
                self.report.without_spans += 1;
            }
        }
        Ok(())
    }

    /// Recognizes the scheme of the tags, if there are tags.
    fn recognize(&mut self) -> Result<(), CorpusError> {
        let mut observer = SchemeObserver::default();
        let mut tags = None;
        for record in &self.records {
            if let Gold::Tags(own) = &record.gold {
                observer.observe(own, |word| record.word_line(word));
                *tags.get_or_insert(0) += own.len();
            }
        }
        let Some(tags) = tags else { return Ok(()) };
        let recognized = observer.recognize(self.options.scheme, self.options.label.as_deref());
        let recognized =
            recognized.map_err(|error| LineFault::new(error.line(), error.into()).in_file(&self.path))?;
        self.report.tags =
            Some(TagReport { recognized: recognized.clone(), tags, converted: 0, repaired: 0 });
        self.recognized = Some(recognized);
        Ok(())
    }

    /// The sentences, and what reading did.
    ///
    /// # Errors
    /// If a sentence breaks what [`Sentence`] promises, or two labels become one.
    pub(super) fn finish(
        mut self,
        mut making: Making<'_>,
    ) -> Result<(Vec<Sentence>, ReadReport), CorpusError> {
        let mut sentences = Vec::with_capacity(self.records.len());
        for record in std::mem::take(&mut self.records) {
            let line = record.line;
            let sentence = match &record.gold {
                Gold::Tags(_) => self.tagged(record, &mut making),
                Gold::Spans(_) | Gold::None => {
                    self.marked(record, &mut making).map_err(|fault| self.fault(line, fault))
                }
            };
            sentences.push(sentence?);
        }
        Ok((sentences, self.report))
    }

    fn fault(&self, line: usize, fault: Fault) -> CorpusError {
        LineFault::new(line, fault).in_file(&self.path)
    }

    /// A sentence of words and tags.
    fn tagged(&mut self, record: Record, making: &mut Making<'_>) -> Result<Sentence, CorpusError> {
        let lines = Record { line: record.line, word_lines: record.word_lines, ..Record::default() };
        let words = record.words.unwrap_or_default();
        let Gold::Tags(tags) = record.gold else { return Ok(Sentence::default()) };
        if words.len() != tags.len() {
            let fault = Fault::Count { words: words.len(), tags: tags.len() };
            return Err(self.fault(record.line, fault));
        }
        if words.is_empty() {
            return Err(self.fault(record.line, Fault::NoWords));
        }
        for (index, word) in words.iter().enumerate() {
            check_word(index, word).map_err(|fault| self.fault(lines.word_line(index), fault))?;
        }
        let converted = self.recognized.as_ref().map(|recognized| recognized.convert(&tags));
        let Some(Ok(converted)) = converted else {
            // All tags were observed before the scheme was recognized.
            return Err(self.fault(record.line, Fault::Count { words: words.len(), tags: 0 }));
        };
        if let Some(report) = &mut self.report.tags {
            report.converted += converted.changed;
            report.repaired += converted.repaired;
        }
        let mut tags = Vec::with_capacity(words.len());
        for (index, tag) in converted.tags.iter().enumerate() {
            tags.push(self.rewrite(tag, lines.word_line(index), making)?);
        }
        let (text, offsets, line) = (record.text, record.offsets, record.line);
        Ok(Sentence { words, tags, text, offsets, spans: None, line })
    }

    /// A sentence of a text and its spans.
    fn marked(&mut self, record: Record, making: &mut Making<'_>) -> Result<Sentence, Fault> {
        let text = record.text.unwrap_or_default();
        let Gold::Spans(spans) = record.gold else { return Ok(Sentence::default()) };
        let counts = self.report.spans.get_or_insert_with(SpanCounts::default);
        let mut spans = settle(&text, spans, self.options.overlap, counts)?;
        for span in &mut spans {
            span.label = making.label(&span.label)?;
        }
        let (words, offsets): (Vec<String>, Vec<_>) =
            making.words.split(&text).into_iter().map(|word| (word.text, (word.start, word.end))).unzip();
        if words.is_empty() {
            return Err(Fault::NoWords);
        }
        for (index, word) in words.iter().enumerate() {
            check_word(index, word)?;
        }
        let tags = tag_words(&offsets, &spans, self.options.alignment, counts)?;
        let (text, offsets, spans) = (Some(text), Some(offsets), Some(spans));
        Ok(Sentence { words, tags, text, offsets, spans, line: record.line })
    }

    /// A BIO tag with its label transformed.
    fn rewrite(&self, tag: &str, line: usize, making: &mut Making<'_>) -> Result<String, CorpusError> {
        let (prefix, label) = match Bio::parse(tag) {
            Some(Bio::Begin(label)) => ("B", label),
            Some(Bio::Inside(label)) => ("I", label),
            Some(Bio::Outside) | None => return Ok(tag.to_owned()),
        };
        let label = making.label(label).map_err(|fault| self.fault(line, fault))?;
        Ok(format!("{prefix}-{label}"))
    }
}

impl Making<'_> {
    /// A label as the task learns it.
    fn label(&mut self, label: &str) -> Result<String, Fault> {
        if let Some(beginning) = too_long(label) {
            return Err(Fault::LongLabel { label: beginning, bytes: label.len() });
        }
        let (new, before_case) = self.transform.apply(label);
        match new.as_str() {
            "" => return Err(Fault::EmptyLabel(label.to_owned())),
            "O" | "I" => return Err(Fault::ReservedLabel(new)),
            _ if new.chars().any(is_whitespace) => return Err(Fault::LabelWhiteSpace(new)),
            _ => {}
        }
        match self.labels.get(&new) {
            Some(other) if *other != before_case => {
                Err(Fault::MergedLabels { first: other.clone(), second: before_case.to_owned(), label: new })
            }
            Some(_) => Ok(new),
            None => {
                self.labels.insert(new.clone(), before_case.to_owned());
                Ok(new)
            }
        }
    }
}

/// A text without words in which nothing is marked.
fn empty(record: &Record) -> Option<LeftOut> {
    let marked = matches!(&record.gold, Gold::Spans(spans) if !spans.is_empty());
    let blank =
        record.words.is_none() && record.text.as_deref().is_some_and(|text| text.chars().all(is_whitespace));
    (blank && !marked && !matches!(record.gold, Gold::Tags(_))).then_some(LeftOut::Empty)
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

fn check_word(index: usize, word: &str) -> Result<(), Fault> {
    match word {
        "" => Err(Fault::EmptyWord(index + 1)),
        _ if word.chars().any(is_whitespace) => Err(Fault::WordWhiteSpace(word.to_owned())),
        _ if word.contains('\0') => Err(Fault::Nul(word.replace('\0', "\u{2400}"))),
        _ => Ok(()),
    }
}
