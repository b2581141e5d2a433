//! Examples: sentences, or windows of long ones, as a model reads them.

use std::sync::Arc;

use hyperloader_core::corpus::MarkedText;

/// A sentence, or a window of one, as ids.
#[derive(Debug, Clone)]
pub struct Example {
    /// The ids that the model reads: a SentT' source with its `</s>`, or `[CLS]`, sub-words and `[SEP]`.
    pub source: Vec<u32>,
    /// The ids that it learns to predict: a SentT' target with its `</s>`, or for each id of `source` the index of a BIO
    /// tag or [`super::NO_TARGET`].
    pub target: Vec<u32>,
    /// The words, including those that were cut off `source`; empty in a training example of a stream.
    pub words: Vec<String>,
    /// The gold BIO tags of the file, one per word.
    pub tags: Vec<String>,
    /// The index of the sentence in its split. The windows of a sentence follow each other.
    pub sentence: usize,
    /// Whether it is a sentence that `hl-run` tags as one: source and shortest possible target are within the limits. Not known
    /// of training examples.
    pub is_whole: bool,
    /// The spans of the sentence in its text, which all its windows share; `None` if the file marks words.
    pub marked: Option<Arc<MarkedText>>,
}

impl Example {
    /// A training example of which only the ids are known: words and tags are empty.
    pub fn of_ids(source: Vec<u32>, target: Vec<u32>) -> Self {
        let (words, tags) = (Vec::new(), Vec::new());
        Self { source, target, words, tags, sentence: 0, is_whole: false, marked: None }
    }
}
