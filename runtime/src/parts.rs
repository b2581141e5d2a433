//! Texts that a scheduler tags in batches of its own: prepared, run part by part, and finished.

use std::sync::Arc;

use hyperloader_core::text::words::Word;

use crate::document::Document;
use crate::model::{Output, Source};
use crate::statistics::Statistics;

/// A text that is ready to be tagged; see [`Tagger::prepare`](crate::Tagger::prepare).
#[derive(Debug)]
pub struct PreparedText {
    pub(crate) text: String,
    pub(crate) words: Vec<Word>,
    pub(crate) document: Document,
}

impl PreparedText {
    /// The parts in the order of the text. A text within the tagger's limits has one.
    pub fn parts(&self) -> Vec<TextPart> {
        self.document.sources().iter().map(|source| TextPart(Arc::clone(source))).collect()
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A part of a text, which the model reads at once.
#[derive(Debug, Clone)]
pub struct TextPart(pub(crate) Arc<Source>);

impl TextPart {
    /// The tokens that the model reads.
    pub fn tokens(&self) -> usize {
        self.0.ids.len()
    }
}

/// What the model wrote for a [`TextPart`].
#[derive(Debug, Clone, Default)]
pub struct PartOutput(pub(crate) Output);

/// A batch of parts that was run.
#[derive(Debug, Clone, Default)]
pub struct BatchOutput {
    /// The output of each part, in order.
    pub outputs: Vec<PartOutput>,
    /// The cost of the batch.
    pub statistics: Statistics,
}
