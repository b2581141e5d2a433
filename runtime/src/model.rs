//! The traits that each kind of tagger implements, and the types that pass between them and the tagger.
//!
//! [`Architecture`] checks an opened file and makes its [`Model`]. The model turns words into a [`Source`] and a worker's
//! output into tags. A [`Worker`] runs batches of sources. [`crate::architecture`] holds the implementations.

use std::fmt;

use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::scores::{IdScore, Score};
use hyperloader_core::text::source::{CodingError, PaddedRows};
use hyperloader_core::text::target::Alignment;
use hyperloader_onnx::WeightFile;
use hyperloader_onnx::proto::ModelProto;

use crate::backend::{Backend, BackendError, Value};
use crate::error::{GraphFault, SentenceError};
use crate::halves::Halves;
use crate::options::TaggerOptions;
use crate::statistics::Statistics;

/// A checked tagger file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) model: &'a ModelProto,
    /// The file that the weights of `model` lie in, if they are not in memory.
    pub(crate) weights: Option<&'a WeightFile>,
    pub(crate) metadata: &'a TaggerMetadata,
    /// The last dimension of `logits`.
    pub(crate) vocab_size: usize,
}

/// A sentence as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) ids: Vec<u32>,
    /// Positions in `ids`. T5: the sentinel before each word, and the one after the last word. BERT: the first sub-word of
    /// each word.
    pub(crate) marks: Vec<usize>,
}

/// What a worker gives for a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Output {
    /// T5: the ids of the target, with `</s>` if the model wrote it. BERT: the index of each token's tag.
    pub(crate) ids: Vec<u32>,
    /// The score of each id; empty unless [`TaggerOptions::needs_scores`].
    pub(crate) scores: Vec<IdScore>,
    /// Whether a logit that decided was not a finite number. The ids then mean nothing.
    pub(crate) is_faulty: bool,
}

/// The tags of a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tags {
    /// The tag of each word as the model wrote it, for [`Model::bio`].
    pub(crate) written: Vec<String>,
    /// See [`crate::Tagged::complete`].
    pub(crate) complete: bool,
    /// The scores of the tags; absent unless [`TaggerOptions::needs_scores`].
    pub(crate) scores: Option<Scores>,
}

/// The scores of a sentence and of its tags.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scores {
    /// T5: the score of the whole target. BERT: the product over the tags.
    pub(crate) sentence: Score,
    /// The score of each word on its own. That of a span is the product over its words.
    pub(crate) words: Vec<Score>,
}

/// How many tokens a sentence takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// The tokens of each word, with those that separate it from the next.
    pub(crate) words: Vec<usize>,
    /// All other tokens, which do not depend on the words.
    pub(crate) other: usize,
}

/// A value in the metadata is out of its range.
#[derive(Debug)]
pub(crate) struct FieldError {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) expected: String,
}

/// A kind of tagger.
pub(crate) trait Architecture: Sync {
    /// Names of the graph's inputs, all int64 `[batch, length]`.
    fn inputs(&self) -> &'static [&'static str];

    /// Checks the metadata against the last dimension of `logits`.
    fn check(&self, metadata: &TaggerMetadata, logits: usize) -> Result<(), FieldError>;

    /// The model of a checked file.
    ///
    /// # Errors
    /// If the tokenizer cannot be used.
    fn model(&self, metadata: &TaggerMetadata) -> Result<Box<dyn Model>, CodingError>;
}

/// Encodes sentences, and interprets the outputs of its workers.
pub(crate) trait Model: Send + Sync + fmt::Debug {
    /// Ids of the tokens for padding and for the end of a sentence.
    fn pad_and_end(&self) -> [u32; 2];

    /// The source of a sentence.
    ///
    /// # Errors
    /// If there are too many words, or the tokenizer fails.
    fn source(&self, words: &[&str]) -> Result<Source, SentenceError>;

    /// The most words of a sentence that can all get a tag, at least one.
    fn max_words(&self) -> usize;

    /// The lengths of a sentence of any number of words: a source of some of them has the sum of theirs.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn lengths(&self, words: &[&str]) -> Result<Lengths, CodingError>;

    /// The source of ids that were encoded elsewhere.
    fn source_of_ids(&self, ids: &[u32]) -> Source;

    /// A worker with sessions of its own.
    ///
    /// # Errors
    /// If the graph cannot be run as `options` ask.
    fn worker(
        &self,
        file: Parts<'_>,
        backend: &Backend,
        options: &TaggerOptions,
    ) -> Result<Box<dyn Worker>, GraphFault>;

    /// The graphs of an encoder and of a decoder that gives scores, for other programs; their weights are in memory.
    ///
    /// # Errors
    /// If the model has no decoder, or its graph cannot be split.
    fn halves(&self, file: Parts<'_>) -> Result<Halves, GraphFault>;

    /// The tags of the sentence `source` with `words` words from a worker's output.
    ///
    /// # Errors
    /// If the tokenizer fails.
    fn tags(
        &self,
        source: &Source,
        words: usize,
        output: &Output,
        align: Alignment,
    ) -> Result<Tags, CodingError>;

    /// One well-formed BIO tag for each tag of a sentence that the model wrote.
    fn bio(&self, written: &[String]) -> Vec<String>;

    /// The scores of BIO tags from those of their words.
    fn tag_scores(&self, bio: &[String], words: &[Score]) -> Vec<Score>;
}

/// Runs batches of sources.
pub(crate) trait Worker: Send + fmt::Debug {
    /// The output of each source, run as one batch.
    ///
    /// # Errors
    /// If the backend fails.
    fn run(&mut self, sources: &[&Source]) -> Result<Vec<Output>, BackendError>;

    /// The cost since the worker was made.
    fn statistics(&self) -> Statistics;
}

/// The graph's inputs `input_ids` and `attention_mask` for `sources`, `[batch, longest]` each.
pub(crate) fn source_inputs(sources: &[&Source], pad: i64) -> Result<[Value; 2], BackendError> {
    let rows = PaddedRows::new(sources.iter().map(|source| source.ids.iter().map(|id| i64::from(*id))), pad);
    let mask = rows.mask();
    Ok([Value::from_i64s(&rows.shape, rows.values)?, Value::from_i64s(&rows.shape, mask)?])
}
