//! What a training learns from.

use serde::Serialize;

use super::record::CharSpan;
use crate::text::labels::{LabelError, LabelSet};

/// A sentence of a corpus. It has at least one word, as many tags as words, and no word or label that is empty or holds white space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// The words as the model reads them.
    pub words: Vec<String>,
    /// One BIO tag per word, well formed, with transformed labels.
    pub tags: Vec<String>,
    /// The raw text, where the file has it.
    pub text: Option<String>,
    /// Start and end of each word in the raw text, in characters.
    pub offsets: Option<Vec<(usize, usize)>>,
    /// The spans of the raw text in characters, in order, where the file marks spans rather than words. A span that begins or ends
    /// inside a word is wider in the tags than here.
    pub spans: Option<Vec<CharSpan>>,
    /// Line of the file at which the sentence begins, from 1.
    pub line: usize,
}

/// The label inventory of `sentences`; `origin` (a file, a task) is named in errors.
///
/// # Errors
/// As [`LabelSet::from_tags`]; never for sentences that were read from a file.
pub fn label_set(sentences: &[Sentence], origin: &str) -> Result<LabelSet, LabelError> {
    LabelSet::from_tags(sentences.iter().flat_map(|sentence| &sentence.tags).map(String::as_str), origin)
}
