//! The corpus of a task, and what its examples depend on: what reading into memory and reading as a stream have in common.

use std::ops::ControlFlow;
use std::path::Path;

use hyperloader_core::corpus::{CorpusError, CorpusSpec, Sentence};
use hyperloader_core::text::labels::{LabelError, LabelSet};
use hyperloader_core::text::source::CodingError;

use super::coding::Coding;
use super::encoder::{Counts, Encoder, Purpose};
use super::error::DataError;
use super::example::Example;
use crate::config::Config;

/// The corpus of a task, and what its examples depend on.
#[derive(Clone, Copy)]
pub struct TaskSource<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The corpus.
    pub spec: &'a CorpusSpec,
    /// The codec of the tokenizer.
    pub codec: &'a dyn Coding,
    /// The configuration of the training.
    pub config: &'a Config,
}

/// The progress of reading the files of a streamed task.
#[derive(Debug, Clone, Copy)]
pub struct ReadProgress<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The number of files.
    pub files: usize,
    /// Path of the store that is made.
    pub store: &'a Path,
    /// The point that the reading has reached.
    pub stage: ReadStage,
}

/// A point of reading the files of a streamed task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStage {
    /// The first reading, which counts the sentences.
    Counting {
        /// The number of records so far.
        records: usize,
    },
    /// The second reading, which stores their ids.
    Storing {
        /// The number of sentences that are stored.
        done: usize,
        /// The number of all sentences.
        sentences: usize,
    },
    /// The store is complete.
    Stored,
}

/// Is called with the progress of reading streamed tasks, and ends the reading if it breaks.
pub type ReadObserver<'a> = dyn FnMut(&ReadProgress<'_>) -> ControlFlow<()> + 'a;

impl<'a> TaskSource<'a> {
    /// An error of the corpus, with the task's name.
    pub(super) fn corpus_error(&self, source: CorpusError) -> DataError {
        DataError::Corpus { task: self.task.to_owned(), source }
    }

    /// An error of the codec, with the task's name.
    pub(super) fn encode_error(&self, source: CodingError) -> DataError {
        DataError::Encode { task: self.task.to_owned(), source }
    }

    /// The path of the training split, as errors of labels name it.
    pub(super) fn origin(&self) -> String {
        self.spec.train.display().to_string()
    }

    /// An error of a label of the corpus, with the task's name.
    pub(super) fn label_error(&self, source: LabelError) -> DataError {
        DataError::Label { task: self.task.to_owned(), source }
    }

    /// Checks that the model can learn to predict the labels.
    pub(super) fn check_labels(&self, labels: &LabelSet) -> Result<(), DataError> {
        let checked = self.codec.check_labels(labels);
        checked.map_err(|source| DataError::Labels { task: self.task.to_owned(), source })
    }

    /// The ids before each source.
    pub(super) fn prefix(&self) -> Result<Vec<u32>, DataError> {
        let prefix = self.codec.prefix(self.config.method.source_prefix(self.task));
        prefix.map_err(|source| self.encode_error(source))
    }

    /// The encoder of the sentences.
    pub(super) fn encoder<'l>(&self, labels: &'l LabelSet) -> Result<Encoder<'l>, DataError>
    where
        'a: 'l,
    {
        Ok(Encoder::new(self.codec, labels, self.prefix()?, &self.config.training))
    }

    /// The examples of a split.
    pub(super) fn examples(
        &self,
        encoder: &mut Encoder<'_>,
        sentences: &[Sentence],
        purpose: Purpose,
    ) -> Result<Vec<Example>, DataError> {
        encoder.examples(sentences, purpose).map_err(|source| self.encode_error(source))
    }

    /// Checks that a split of `all` sentences has an example.
    pub(super) fn check_split(
        &self,
        split: &'static str,
        examples: usize,
        all: usize,
        counts: Counts,
    ) -> Result<(), DataError> {
        if examples > 0 {
            return Ok(());
        }
        let reason = match counts.skipped {
            0 => format!(": `training.fraction` = {} leaves none of {all}", self.config.training.fraction),
            n => format!(
                ": {n} are longer than `training.max_source_len` or `max_target_len`\n\
                 hint: `too_long = \"window\"` in `[training]` cuts them into parts"
            ),
        };
        Err(DataError::Empty { task: self.task.to_owned(), split, reason })
    }
}
