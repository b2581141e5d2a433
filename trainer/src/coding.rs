//! How a sentence and its tags become the ids of an example: SentT' for a T5, sub-words and tag indices for a BERT.

use std::ops::Range;

use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::spans::{Bio, bio_to_sbio};
use hyperloader_core::text::wordpiece::{self, WordPiece, WordPieceError};
use hyperloader_core::text::writable::{WritableError, labels_writable, some_labels};

use crate::config::TrainingConfig;

/// Stands for a tag at positions that the loss passes over: further sub-words, `[CLS]`, `[SEP]`, labels of no training
/// sentence.
pub const IGNORED: i64 = -100;

/// A sentence cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum CodingError {
    /// As SentT'.
    #[error(transparent)]
    SentT(#[from] SentTError),
    /// As sub-words.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
}

/// Ids of words and tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// What the model reads.
    pub source: Vec<u32>,
    /// What it learns to give.
    pub target: Vec<i64>,
}

/// A codec of sentences.
pub trait Coding {
    /// Ids of the text that stands in front of each source, by which a model knows its task; mostly none.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn prefix(&self, text: &str) -> Result<Vec<u32>, CodingError>;

    /// The most words that a source can have.
    fn max_words(&self) -> usize;

    /// Tokens that a word adds to a source, which has two besides.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn word_tokens(&self, word: &str) -> Result<usize, CodingError>;

    /// Tokens that the tag at `at` adds to a target, which has two besides; the least possible without `tags`. `first` is
    /// whether the target begins with it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn tag_tokens(&self, tags: Option<&[String]>, at: usize, first: bool) -> Result<usize, CodingError>;

    /// The ids of `words`, which are those in `window` of a sentence with the BIO tags `tags`.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn encode(
        &self,
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        labels: &LabelSet,
    ) -> Result<Coded, CodingError>;

    /// Refuses labels that a model cannot learn to give, before it is trained.
    ///
    /// # Errors
    /// Names the labels. If there is no label at all.
    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError>;

    /// Whether source and target are within `training.max_source_len` and, where it counts, `max_target_len`.
    fn fits(&self, coded: &Coded, limits: &TrainingConfig) -> bool;

    /// Cuts what does not fit: the first ids, then what ends a sentence.
    fn truncate(&self, coded: &mut Coded, limits: &TrainingConfig);
}

impl Coding for SentT {
    fn prefix(&self, text: &str) -> Result<Vec<u32>, CodingError> {
        Ok(self.encode_text(text)?)
    }

    fn max_words(&self) -> usize {
        self.max_words()
    }

    fn word_tokens(&self, word: &str) -> Result<usize, CodingError> {
        Ok(1 + self.word(&word)?.len())
    }

    fn tag_tokens(&self, tags: Option<&[String]>, at: usize, first: bool) -> Result<usize, CodingError> {
        let Some(tags) = tags else { return Ok(2) };
        let tag = if first { sbio(tags, at..at + 1) } else { bio_to_sbio(&tags[at..=at]) };
        self.word_tokens(&tag[0])
    }

    fn encode(
        &self,
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        _: &LabelSet,
    ) -> Result<Coded, CodingError> {
        let target = self.encode_target(&sbio(tags, window))?;
        let source = self.encode_source(words)?;
        Ok(Coded { source, target: target.into_iter().map(i64::from).collect() })
    }

    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError> {
        labels_writable(self, labels)
    }

    fn fits(&self, coded: &Coded, limits: &TrainingConfig) -> bool {
        coded.source.len() <= limits.max_source_len && coded.target.len() <= limits.max_target_len
    }

    fn truncate(&self, coded: &mut Coded, limits: &TrainingConfig) {
        self.truncate(&mut coded.source, limits.max_source_len);
        if coded.target.len() > limits.max_target_len {
            coded.target.truncate(limits.max_target_len.saturating_sub(1));
            coded.target.push(self.eos().into());
        }
    }
}

/// The sBIO tags of a window. One that begins inside a span opens it anew, for an `I` without a label before it means nothing.
fn sbio(tags: &[String], window: Range<usize>) -> Vec<String> {
    let mut sbio = bio_to_sbio(&tags[window.clone()]);
    if let (1.., Some(Bio::Inside(label))) =
        (window.start, tags.get(window.start).and_then(|tag| Bio::parse(tag)))
    {
        sbio[..1].fill(label.to_owned());
    }
    sbio
}

impl Coding for WordPiece {
    /// None: each task has a classifier of its own.
    fn prefix(&self, _: &str) -> Result<Vec<u32>, CodingError> {
        Ok(Vec::new())
    }

    fn max_words(&self) -> usize {
        usize::MAX
    }

    fn word_tokens(&self, word: &str) -> Result<usize, CodingError> {
        Ok(self.word(word)?.len())
    }

    fn tag_tokens(&self, _: Option<&[String]>, _: usize, _: bool) -> Result<usize, CodingError> {
        Ok(0)
    }

    fn encode(
        &self,
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        labels: &LabelSet,
    ) -> Result<Coded, CodingError> {
        let wordpiece::Coded { ids, first } = self.encode(words)?;
        let mut target = vec![IGNORED; ids.len()];
        for (at, tag) in first.into_iter().zip(&tags[window]) {
            target[at] = labels.bio_index(tag).map_or(IGNORED, |index| index as i64);
        }
        Ok(Coded { source: ids, target })
    }

    /// Targets are as long as sources, so only `training.max_source_len` counts.
    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError> {
        some_labels(labels)
    }

    fn fits(&self, coded: &Coded, limits: &TrainingConfig) -> bool {
        coded.source.len() <= limits.max_source_len
    }

    fn truncate(&self, coded: &mut Coded, limits: &TrainingConfig) {
        if coded.source.len() > limits.max_source_len {
            self.truncate(&mut coded.source, limits.max_source_len);
            coded.target.truncate(limits.max_source_len - 1);
            coded.target.push(IGNORED);
        }
    }
}
