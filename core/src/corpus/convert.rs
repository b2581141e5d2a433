//! Records to sentences: tags of every scheme become BIO, words and labels are checked.

use std::collections::BTreeMap;

use super::align::{SpanCounts, settle, tag_words};
use super::error::{Fault, LineFault};
use super::options::ReadOptions;
use super::record::{Gold, Record};
use super::report::ReadReport;
use super::sentence::Sentence;
use super::transform::LabelTransform;
use crate::text::labels::too_long;
use crate::text::scheme::Recognized;
use crate::text::spans::Bio;
use crate::text::words::{WordSplitting, is_whitespace};

/// How records become sentences.
pub(super) struct Making<'a> {
    pub(super) words: WordSplitting,
    pub(super) transform: LabelTransform,
    /// What labels were before their case was changed, by what they are after it; over all files of a corpus.
    pub(super) labels: &'a mut BTreeMap<String, String>,
}

/// Turns records into sentences, after all of their tags were seen.
#[derive(Debug)]
pub(super) struct Converter {
    pub(super) options: ReadOptions,
    pub(super) recognized: Option<Recognized>,
    pub(super) report: ReadReport,
}

impl Converter {
    /// The sentence of a record that is not left out.
    ///
    /// # Errors
    /// If it breaks what [`Sentence`] promises, or two labels become one.
    pub(super) fn sentence(
        &mut self,
        record: Record,
        making: &mut Making<'_>,
    ) -> Result<Sentence, LineFault> {
        let line = record.line;
        match &record.gold {
            Gold::Tags(_) => self.tagged(record, making),
            Gold::Spans(_) | Gold::None => {
                self.marked(record, making).map_err(|fault| LineFault::new(line, fault))
            }
        }
    }

    /// A sentence of words and tags.
    fn tagged(&mut self, record: Record, making: &mut Making<'_>) -> Result<Sentence, LineFault> {
        let lines = Record { line: record.line, word_lines: record.word_lines, ..Record::default() };
        let words = record.words.unwrap_or_default();
        let Gold::Tags(tags) = record.gold else { return Ok(Sentence::default()) };
        if words.len() != tags.len() {
            let fault = Fault::Count { words: words.len(), tags: tags.len() };
            return Err(LineFault::new(record.line, fault));
        }
        if words.is_empty() {
            return Err(LineFault::new(record.line, Fault::NoWords));
        }
        for (index, word) in words.iter().enumerate() {
            check_word(index, word).map_err(|fault| LineFault::new(lines.word_line(index), fault))?;
        }
        let converted = self.recognized.as_ref().map(|recognized| recognized.convert(&tags));
        let Some(Ok(converted)) = converted else {
            // All tags were observed before the scheme was recognized.
            return Err(LineFault::new(record.line, Fault::Count { words: words.len(), tags: 0 }));
        };
        if let Some(report) = &mut self.report.tags {
            report.converted += converted.changed;
            report.repaired += converted.repaired;
        }
        let mut tags = Vec::with_capacity(words.len());
        for (index, tag) in converted.tags.iter().enumerate() {
            let tag = making.rewrite(tag);
            tags.push(tag.map_err(|fault| LineFault::new(lines.word_line(index), fault))?);
        }
        let (text, offsets, line) = (record.text, record.offsets, record.line);
        Ok(Sentence { words, tags, text, offsets, spans: None, line })
    }

    /// A sentence of a text and its spans.
    fn marked(&mut self, record: Record, making: &mut Making<'_>) -> Result<Sentence, Fault> {
        let text = record.text.unwrap_or_default();
        let spans = match record.gold {
            Gold::Spans(spans) => spans,
            // Other texts of the file are annotated, and in this one nothing is marked.
            Gold::None | Gold::Tags(_) => Vec::new(),
        };
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
}

impl Making<'_> {
    /// A BIO tag with its label transformed.
    fn rewrite(&mut self, tag: &str) -> Result<String, Fault> {
        let (prefix, label) = match Bio::parse(tag) {
            Some(Bio::Begin(label)) => ("B", label),
            Some(Bio::Inside(label)) => ("I", label),
            Some(Bio::Outside) | None => return Ok(tag.to_owned()),
        };
        Ok(format!("{prefix}-{}", self.label(label)?))
    }

    /// A label as the task learns it.
    pub(super) fn label(&mut self, label: &str) -> Result<String, Fault> {
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

/// Checks a word; `index` counts from 0.
pub(super) fn check_word(index: usize, word: &str) -> Result<(), Fault> {
    match word {
        "" => Err(Fault::EmptyWord(index + 1)),
        _ if word.chars().any(is_whitespace) => Err(Fault::WordWhiteSpace(word.to_owned())),
        _ if word.contains('\0') => Err(Fault::Nul(word.replace('\0', "\u{2400}"))),
        _ => Ok(()),
    }
}
