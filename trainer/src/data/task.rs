//! The examples of a task: its splits, read and encoded.

use std::collections::HashSet;

use hyperloader_core::corpus::{Corpus, CorpusSpec, FileReport, Sentence, Splits, subset};
use hyperloader_core::text::labels::{LabelError, LabelSet};
use hyperloader_core::text::spans::Bio;
use hyperloader_core::text::words::{WordFit, WordSplitting};

use super::coding::Coding;
use super::encoder::{Counts, Encoder, Purpose};
use super::error::DataError;
use super::example::Example;
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

/// Reads and encodes the splits of a task, all of them into memory. Of the training and validation splits, `training.fraction` is used.
///
/// # Errors
/// If a file is unreadable, a line or a label is invalid, or no training or validation sentence is left.
pub fn load_task(
    task: &str,
    spec: &CorpusSpec,
    codec: &dyn Coding,
    config: &Config,
) -> Result<TaskData, DataError> {
    let name = || task.to_owned();
    let corpus_error = |source| DataError::Corpus { task: name(), source };
    let Corpus { splits, files, words, word_fit } = spec.read().map_err(corpus_error)?;
    let Splits { train, valid, test } = splits;
    let sizes = [train.len(), valid.len()];
    let limits = &config.training;
    let part = |split| subset(split, limits.fraction, config.seed).map_err(corpus_error);
    let (train, valid) = (part(train)?, part(valid)?);
    let tags = train.iter().chain(&valid).flat_map(|s| s.tags.iter().map(String::as_str));
    let labels = labels_of(task, LabelSet::from_tags(tags, &spec.train.display().to_string()))?;
    let prefix = codec
        .prefix(config.method.source_prefix(task))
        .map_err(|source| DataError::Encode { task: name(), source })?;
    let mut encoder = Encoder::new(codec, &labels, prefix, limits);
    let mut encode = |sentences: &[Sentence], purpose| {
        encoder.examples(sentences, purpose).map_err(|source| DataError::Encode { task: name(), source })
    };
    let train = encode(&train, Purpose::Training)?;
    let valid = encode(&valid, Purpose::Evaluation)?;
    let test = encode(&test, Purpose::Evaluation)?;
    let counts = encoder.counts;
    let [all_train, all_valid] = sizes;
    for (split, examples, all) in [("training", &train, all_train), ("validation", &valid, all_valid)] {
        check_split(task, split, examples.len(), all, counts, limits.fraction)?;
    }
    codec.check_labels(&labels).map_err(|source| DataError::Labels { task: name(), source })?;
    let trained = labels_in(&train);
    Ok(TaskData {
        name: name(),
        labels,
        unseen_labels: unseen(|label| trained.contains(label), &test),
        train: TrainingSet::Loaded(train),
        valid,
        test,
        counts,
        words,
        word_fit,
        files,
    })
}

pub(super) fn labels_of(task: &str, labels: Result<LabelSet, LabelError>) -> Result<LabelSet, DataError> {
    labels.map_err(|source| DataError::Label { task: task.to_owned(), source })
}

/// Checks that a split of `all` sentences has an example.
pub(super) fn check_split(
    task: &str,
    split: &'static str,
    examples: usize,
    all: usize,
    counts: Counts,
    fraction: f64,
) -> Result<(), DataError> {
    if examples > 0 {
        return Ok(());
    }
    let reason = match counts.skipped {
        0 => format!(": `training.fraction` = {fraction} leaves none of {all}"),
        n => format!(
            ": {n} are longer than `training.max_source_len` or `max_target_len`\n\
             hint: `too_long = \"window\"` in `[training]` cuts them into parts"
        ),
    };
    Err(DataError::Empty { task: task.to_owned(), split, reason })
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
