//! The trait that turns a sentence and its tags into ids. Each kind of backbone implements it for its tokenizer.

use std::ops::Range;

use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::writable::WritableError;

/// In [`Coded::target`], a position that the loss leaves out: further sub-words of a word, `[CLS]`, `[SEP]`, and tags whose
/// label is in no training or validation sentence.
pub const NO_TARGET: u32 = u32::MAX;

/// The most tokens of an example.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the source, `</s>` or `[SEP]` included (`training.max_source_len`).
    pub source: usize,
    /// Of the target, `</s>` included (`training.max_target_len`).
    pub target: usize,
}

/// Ids of words and tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// The ids that the model reads.
    pub source: Vec<u32>,
    /// The ids that it learns to predict, or [`NO_TARGET`].
    pub target: Vec<u32>,
}

/// A codec of sentences and their tags.
pub trait Coding {
    /// The SHA-256 of all that decides which ids a text has: the tokenizer with its settings.
    fn identity(&self) -> String;

    /// The ids of a text before each source, which tells the model its task; often empty.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn prefix(&self, text: &str) -> Result<Vec<u32>, CodingError>;

    /// The most words of a source.
    fn max_words(&self) -> usize;

    /// Whether a target is a text of its own, which `training.max_target_len` limits. Otherwise it has one tag for each token
    /// of the source.
    fn writes_targets(&self) -> bool;

    /// The number of tokens that a word adds to a source. A source has two more.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn word_tokens(&self, word: &str) -> Result<usize, CodingError>;

    /// The number of tokens that the tag at `at` adds to a target, or the smallest possible number without `tags`. `first`
    /// says whether the target begins with this tag. A target has two tokens more.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn tag_tokens(&self, tags: Option<&[String]>, at: usize, first: bool) -> Result<usize, CodingError>;

    /// The ids of `words`, the words in `window` of a sentence with the BIO tags `tags`. The source begins with `prefix`,
    /// which is from [`Coding::prefix`].
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn encode(
        &self,
        prefix: &[u32],
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        labels: &LabelSet,
    ) -> Result<Coded, CodingError>;

    /// Checks that a model can learn to predict the labels.
    ///
    /// # Errors
    /// Names the labels that it cannot. If there is no label.
    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError>;

    /// Whether source and target are within the limits.
    fn fits(&self, coded: &Coded, limits: Limits) -> bool;

    /// Cuts ids beyond the limits and ends the rest with the token that ends a sentence.
    fn truncate(&self, coded: &mut Coded, limits: Limits);
}
