//! The examples of a task: its splits, read and encoded.

use std::collections::HashSet;

use hyperloader_core::corpus::{Corpus, FileReport, Splits, subset};
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::spans::Bio;
use hyperloader_core::text::words::{WordFit, WordSplitting};

use super::encoder::{Counts, Purpose};
use super::error::DataError;
use super::example::Example;
use super::source::{ReadObserver, TaskSource};
use super::training_set::TrainingSet;
use crate::config::Config;

/// The examples of a task.
#[derive(Debug)]
pub struct TaskData {
    /// The task's name.
    pub name: String,
    /// The labels of the training and validation splits.
    pub labels: LabelSet,
    /// Training examples within the limits.
    pub train: TrainingSet,
    /// Validation examples.
    pub valid: Vec<Example>,
    /// Test examples.
    pub test: Vec<Example>,
    /// The numbers of sentences that exceed a limit.
    pub counts: Counts,
    /// Labels that the test split has and no training example has, sorted.
    pub unseen_labels: Vec<String>,
    /// How free text is split into words.
    pub words: WordSplitting,
    /// How well this splitting reproduces the tokens of the corpus, if it has tokens.
    pub word_fit: Option<WordFit>,
    /// What reading each file converted or left out.
    pub files: Vec<FileReport>,
}

impl TaskSource<'_> {
    /// Reads and encodes the splits of the task. The training sentences of a streamed task are read from a store, which is
    /// made first if it is missing; `observer` is called while it is.
    ///
    /// # Errors
    /// If a file is unreadable, a line or a label is invalid, or no training or validation sentence is left. If a file of a
    /// streamed task changes while it is read, its store cannot be read or written, or `observer` breaks.
    pub fn load(&self, observer: &mut ReadObserver<'_>) -> Result<TaskData, DataError> {
        if self.spec.stream { self.load_stream(observer) } else { self.load_all() }
    }

    /// Reads and encodes the splits, all of them into memory, also those of a streamed task. Of the training and validation
    /// splits, `training.fraction` is used.
    ///
    /// # Errors
    /// If a file is unreadable, a line or a label is invalid, or no training or validation sentence is left.
    pub fn load_all(&self) -> Result<TaskData, DataError> {
        let corpus_error = |source| self.corpus_error(source);
        let Corpus { splits, files, words, word_fit } = self.spec.read().map_err(corpus_error)?;
        let Splits { train, valid, test } = splits;
        let [all_train, all_valid] = [train.len(), valid.len()];
        let Config { training, seed, .. } = self.config;
        let part = |split| subset(split, training.fraction, *seed).map_err(corpus_error);
        let (train, valid) = (part(train)?, part(valid)?);
        let tags = train.iter().chain(&valid).flat_map(|s| s.tags.iter().map(String::as_str));
        let labels = LabelSet::from_tags(tags, &self.origin()).map_err(|error| self.label_error(error))?;
        let mut encoder = self.encoder(&labels)?;
        let train = self.examples(&mut encoder, &train, Purpose::Training)?;
        let valid = self.examples(&mut encoder, &valid, Purpose::Evaluation)?;
        let test = self.examples(&mut encoder, &test, Purpose::Evaluation)?;
        let counts = encoder.counts;
        self.check_split("training", train.len(), all_train, counts)?;
        self.check_split("validation", valid.len(), all_valid, counts)?;
        self.check_labels(&labels)?;
        let trained = labels_in(&train);
        Ok(TaskData {
            name: self.task.to_owned(),
            unseen_labels: unseen(|label| trained.contains(label), &test),
            labels,
            train: TrainingSet::Loaded(train),
            valid,
            test,
            counts,
            words,
            word_fit,
            files,
        })
    }
}

/// The labels of `test` that are not among those of the training examples, sorted.
pub(super) fn unseen(is_trained: impl Fn(&str) -> bool, test: &[Example]) -> Vec<String> {
    let mut unseen: Vec<String> = labels_in(test).into_iter().filter(|label| !is_trained(label)).collect();
    unseen.sort_unstable();
    unseen
}

fn labels_in(examples: &[Example]) -> HashSet<String> {
    let tags = examples.iter().flat_map(|example| &example.tags);
    tags.filter_map(|tag| Bio::parse(tag)?.label().map(str::to_owned)).collect()
}
