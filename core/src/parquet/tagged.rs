//! A row of a table of tagged texts.

/// A tagged text, or one that could not be tagged: a row of [`TableWriter`](super::TableWriter).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaggedRow {
    /// The text, if it could be read.
    pub text: Option<String>,
    /// The words, if the text was tagged.
    pub tokens: Option<Vec<String>>,
    /// A tag for each of the words.
    pub tags: Option<Vec<String>>,
    /// The labelled spans, if the text was tagged.
    pub spans: Option<Vec<SpanCell>>,
    /// The score of the whole.
    pub score: Option<f64>,
    /// Why the text could not be tagged.
    pub error: Option<String>,
    /// Whether the tags are withheld, because a guarantee does not hold for them.
    pub abstained: bool,
    /// Number of spans that are withheld, because a guarantee does not hold for them.
    pub withheld: usize,
    /// What else its record has, as a JSON object.
    pub fields: Option<String>,
}

/// A labelled span of a [`TaggedRow`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpanCell {
    /// Its first character.
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// Its label.
    pub label: String,
    /// Its characters.
    pub text: String,
    /// Its score.
    pub score: Option<f64>,
    /// Whether the tagger does not list the label.
    pub unknown: bool,
}
