//! What readers yield: one record at a time, before tags are converted and spans are laid on words.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One text or sentence of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Line of the file at which the record begins, from 1.
    pub line: usize,
    /// The raw text, if the file has it.
    pub text: Option<String>,
    /// The words or tokens, if the file has them.
    pub words: Option<Vec<String>>,
    /// Start and end of each word in the text, in characters.
    pub offsets: Option<Vec<(usize, usize)>>,
    /// Line of each word, if words have lines of their own.
    pub word_lines: Vec<usize>,
    /// Tags or spans that the file gives.
    pub gold: Gold,
    /// Why the record becomes no sentence, if so: its annotator rejected it.
    pub left_out: Option<LeftOut>,
    /// Further annotations of the same text (Label Studio), which are not read.
    pub further_annotations: usize,
    /// What else the record holds: fields of JSON objects, columns of tables. In file order.
    pub fields: Map<String, Value>,
    /// JSON, without white space, of those fields that have numbers which `fields` does not hold as they are written in the file. Only
    /// of JSON that is read to be tagged.
    pub exact: BTreeMap<String, String>,
    /// Comment lines and `-DOCSTART-` lines before the sentence (CoNLL), as they are in the file.
    pub comments: Vec<String>,
    /// All columns of each word, if the file has a line per word and is read to be tagged.
    pub columns: Vec<Vec<String>>,
}

/// The annotation of a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Gold {
    /// None.
    #[default]
    None,
    /// One tag per word, in the file's scheme.
    Tags(Vec<String>),
    /// Labelled pieces of the text, in file order.
    Spans(Vec<CharSpan>),
}

/// A labelled run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct CharSpan {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Label as it stands in the file, before [`super::LabelTransform`].
    pub label: String,
}

/// Why a record is left out of training and evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// The annotator rejected the annotation (`"answer": "reject"`).
    Rejected,
    /// The annotator ignored or skipped the text (`"answer": "ignore"`, `"was_cancelled": true`).
    Ignored,
    /// Nobody annotated the text yet (a Label Studio task without annotations).
    NotAnnotated,
    /// The text has no words, and nothing in it is marked.
    Empty,
}

impl LeftOut {
    /// In words, for reports.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Rejected => "rejected by the annotator",
            Self::Ignored => "ignored by the annotator",
            Self::NotAnnotated => "not annotated",
            Self::Empty => "without words",
        }
    }
}

impl Record {
    /// The line of a word.
    pub fn word_line(&self, word: usize) -> usize {
        self.word_lines.get(word).copied().unwrap_or(self.line)
    }
}
