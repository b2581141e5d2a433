//! The examples of a task: its splits, read and encoded.

use std::collections::HashSet;

use hyperloader_core::corpus::{Corpus, CorpusError, CorpusSpec, FileReport, Sentence, Splits, subset};
use hyperloader_core::text::labels::{LabelError, LabelSet};
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::spans::Bio;
use hyperloader_core::text::words::{WordFit, WordSplitting};
use hyperloader_core::text::writable::WritableError;

use super::coding::Coding;
use super::encoder::{Encoder, Purpose};
use super::example::Example;
use crate::config::Config;

/// The corpus of a task could not be turned into examples.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is unreadable, or a line of it is invalid.
    #[error("cannot read the corpus of task `{task}`")]
    Corpus {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: CorpusError,
    },
    /// A label cannot be used.
    #[error("cannot use the labels of task `{task}`")]
    Label {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: LabelError,
    },
    /// The model cannot learn to predict the labels.
    #[error("cannot train on the labels of task `{task}`")]
    Labels {
        /// Name of the task.
        task: String,
        /// The labels and the reason.
        source: WritableError,
    },
    /// A sentence cannot be encoded.
    #[error("cannot encode the corpus of task `{task}`")]
    Encode {
        /// Name of the task.
        task: String,
        /// The underlying error.
        source: CodingError,
    },
    /// No sentence of a split can be used.
    #[error("task `{task}` has no usable {split} sentence{reason}")]
    Empty {
        /// Name of the task.
        task: String,
        /// `training` or `validation`.
        split: &'static str,
        /// Why no sentence is left; empty if the split is empty.
        reason: String,
    },
}

/// The examples of a task.
#[derive(Debug)]
pub struct TaskData {
    /// The task's name.
    pub name: String,
    /// The labels of the training and validation splits.
    pub labels: LabelSet,
    /// Training examples within the limits.
    pub train: Vec<Example>,
    /// Validation examples.
    pub valid: Vec<Example>,
    /// Test examples.
    pub test: Vec<Example>,
    /// The number of training sentences that were left out because they exceed a limit.
    pub skipped: usize,
    /// The number of sentences or windows that were cut off at a limit.
    pub truncated: usize,
    /// The number of sentences that were cut into windows.
    pub windowed: usize,
    /// Labels that the test split has and no training example has, sorted.
    pub unseen_labels: Vec<String>,
    /// How free text is split into words.
    pub words: WordSplitting,
    /// How well this splitting reproduces the tokens of the corpus, if it has tokens.
    pub word_fit: Option<WordFit>,
    /// What reading each file converted or left out.
    pub files: Vec<FileReport>,
}

/// Reads and encodes the splits of a task. Of the training and validation splits, `training.fraction` is used.
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
    let labels = LabelSet::from_tags(tags, &spec.train.display().to_string())
        .map_err(|source| DataError::Label { task: name(), source })?;
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
    let Encoder { skipped, truncated, windowed, .. } = encoder;
    for (split, examples, all) in [("training", &train, sizes[0]), ("validation", &valid, sizes[1])] {
        if examples.is_empty() {
            let reason = match skipped {
                0 => format!(": `training.fraction` = {} leaves none of {all}", limits.fraction),
                n => format!(
                    ": {n} are longer than `training.max_source_len` or `max_target_len`\n\
                     hint: `too_long = \"window\"` in `[training]` cuts them into parts"
                ),
            };
            return Err(DataError::Empty { task: name(), split, reason });
        }
    }
    codec.check_labels(&labels).map_err(|source| DataError::Labels { task: name(), source })?;
    let unseen_labels = unseen_labels(&train, &test);
    Ok(TaskData {
        name: name(),
        labels,
        train,
        valid,
        test,
        skipped,
        truncated,
        windowed,
        unseen_labels,
        words,
        word_fit,
        files,
    })
}

fn unseen_labels(train: &[Example], test: &[Example]) -> Vec<String> {
    let labels = |examples: &[Example]| -> HashSet<String> {
        let tags = examples.iter().flat_map(|example| &example.tags);
        tags.filter_map(|tag| Bio::parse(tag)?.label().map(str::to_owned)).collect()
    };
    let mut unseen: Vec<String> = labels(test).difference(&labels(train)).cloned().collect();
    unseen.sort_unstable();
    unseen
}
