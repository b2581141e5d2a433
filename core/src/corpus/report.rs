//! A report on reading a file: everything that was converted, widened or left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::align::SpanCounts;
use super::layout::Layout;
use super::record::LeftOut;
use crate::text::scheme::{Recognized, Scheme, TagForm};
use crate::text::words::WordFit;

/// A report on reading a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReport {
    /// The layout it was read in.
    pub layout: Layout,
    /// Records that were read, those left out included.
    pub records: usize,
    /// Records left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<LeftOut, usize>,
    /// Comment lines that were skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub comments: usize,
    /// `-DOCSTART-` lines that were skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub document_starts: usize,
    /// Whether a first column that counts the words was skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub index_column: bool,
    /// Texts without a field of spans, read as texts in which nothing is marked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_spans: usize,
    /// Further annotations of a text, which were not read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further_annotations: usize,
    /// What the tags were recognized as, if the file has tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagReport>,
    /// What became of spans, if the file has spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<SpanCounts>,
    /// How well the rule for free text reproduces the file's own tokens, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<WordFit>,
}

/// What tags were recognized as, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagReport {
    /// Scheme and form.
    #[serde(flatten)]
    pub recognized: Recognized,
    /// Tags.
    pub tags: usize,
    /// Tags that were rewritten as BIO.
    pub converted: usize,
    /// Tags out of sequence, read as conlleval does.
    pub repaired: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl ReadReport {
    /// A report of nothing yet.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            records: 0,
            left_out: BTreeMap::new(),
            comments: 0,
            document_starts: 0,
            index_column: false,
            without_spans: 0,
            further_annotations: 0,
            tags: None,
            spans: None,
            words: None,
        }
    }

    /// What a user should know, one sentence each: everything that was not read as it stands in the file. Nothing for a file of
    /// well-formed BIO tags.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut counted = |count: usize, text: &str| {
            if count > 0 {
                notes.push(format!("{count} {text}"));
            }
        };
        for (reason, count) in &self.left_out {
            counted(*count, &format!("of {} records left out: {}", self.records, reason.reason()));
        }
        counted(self.comments, "comment lines skipped");
        counted(self.without_spans, "texts without a field of spans, read as texts without spans");
        counted(self.further_annotations, "further annotations of the same texts not read");
        if self.index_column {
            notes.push("the first column counts the words and was skipped".to_owned());
        }
        notes.extend(self.tags.as_ref().and_then(TagReport::note));
        if let Some(TagReport { repaired: 1.., .. }) = self.tags {
            let repaired = self.tags.as_ref().map_or(0, |tags| tags.repaired);
            notes.push(format!("{repaired} tags out of sequence: such a tag opens a span"));
        }
        notes.extend(self.spans.as_ref().into_iter().flat_map(span_notes));
        notes.extend(self.words.as_ref().and_then(WordFit::note));
        notes
    }
}

impl TagReport {
    /// What was recognized, unless it is BIO in its usual form.
    fn note(&self) -> Option<String> {
        let Recognized { scheme, form, label } = &self.recognized;
        if *scheme == Scheme::Bio && *form == TagForm::USUAL {
            return None;
        }
        let form = match (form, label) {
            (TagForm::Untyped, Some(label)) => {
                format!(" without labels: every span is `{label}` (`label = \"...\"` gives another)")
            }
            (TagForm::Bare, _) => " (each tag is a label, each run of one label a span)".to_owned(),
            (TagForm::Prefix('-'), _) => String::new(),
            (form, _) => format!(" (written as `{}`)", form.example()),
        };
        let (converted, tags) = (self.converted, self.tags);
        Some(format!("tags are {scheme}{form}; {converted} of {tags} converted to bio"))
    }
}

fn span_notes(counts: &SpanCounts) -> Vec<String> {
    let SpanCounts { spans, widened, trimmed, overlapping, repeated } = *counts;
    let lines = [
        (
            widened,
            format!("{widened} of {spans} spans begin or end inside a word and were widened to whole words"),
        ),
        (trimmed, format!("{trimmed} spans had white space at their ends, which was cut off")),
        (overlapping, format!("{overlapping} spans left out because they overlap with others")),
        (repeated, format!("{repeated} copies of spans left out")),
    ];
    lines.into_iter().filter(|(count, _)| *count > 0).map(|(_, line)| line).collect()
}
