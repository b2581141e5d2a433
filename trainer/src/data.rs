//! Corpora as ids: examples of a task, and batches of one task.

use hyperloader_core::corpus::{CorpusError, CorpusSpec, Sentence, Splits};
use hyperloader_core::labels::{LabelError, LabelSet};
use hyperloader_core::sentt::{SentT, SentTError};
use hyperloader_core::spans::bio_to_sbio;
use tch::{Device, Kind, Tensor};

use crate::config::{TooLong, TrainingConfig};

/// A corpus could not be turned into examples.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The corpus is unreadable.
    #[error("task `{task}`: {source}")]
    Corpus {
        /// The task.
        task: String,
        /// The reason.
        source: CorpusError,
    },
    /// A label cannot be used.
    #[error("task `{task}`: {source}")]
    Label {
        /// The task.
        task: String,
        /// The reason.
        source: LabelError,
    },
    /// A sentence cannot be encoded.
    #[error("task `{task}`: {source}")]
    Encode {
        /// The task.
        task: String,
        /// The reason.
        source: SentTError,
    },
    /// A split without a usable sentence.
    #[error("task `{task}` has no usable {split} sentence{reason}")]
    Empty {
        /// The task.
        task: String,
        /// The split.
        split: &'static str,
        /// Why, if there were sentences.
        reason: String,
    },
}

/// A sentence as the model sees it.
#[derive(Debug, Clone)]
pub struct Example {
    /// SentT' source, `</s>` included.
    pub source: Vec<i64>,
    /// SentT' target, `</s>` included.
    pub target: Vec<i64>,
    /// Gold BIO tags, one a word.
    pub tags: Vec<String>,
}

/// The examples of a task.
#[derive(Debug)]
pub struct TaskData {
    /// The task's name.
    pub name: String,
    /// Labels of the training and validation splits.
    pub labels: LabelSet,
    /// Training examples within the limits.
    pub train: Vec<Example>,
    /// Validation examples.
    pub valid: Vec<Example>,
    /// Test examples.
    pub test: Vec<Example>,
    /// Training sentences left out because they are longer than a limit.
    pub skipped: usize,
    /// Sentences that were cut at a limit.
    pub truncated: usize,
}

/// Reads and encodes a task's splits.
///
/// # Errors
/// If a file or a line of it is unusable, a label cannot be written, or no training sentence remains.
pub fn load_task(
    task: &str,
    spec: &CorpusSpec,
    codec: &SentT,
    limits: &TrainingConfig,
) -> Result<TaskData, DataError> {
    let name = || task.to_owned();
    let corpus_error = |source| DataError::Corpus { task: name(), source };
    let Splits { train, valid, test } = spec.load().map_err(corpus_error)?;
    let tags = train.iter().chain(&valid).flat_map(|s| s.tags.iter().map(String::as_str));
    let labels = LabelSet::from_tags(tags, &spec.train.display().to_string())
        .map_err(|source| DataError::Label { task: name(), source })?;
    let mut encoder = Encoder { codec, limits, skipped: 0, truncated: 0 };
    let mut encode = |sentences: &[Sentence], too_long| {
        encoder.examples(sentences, too_long).map_err(|source| DataError::Encode { task: name(), source })
    };
    // Evaluation leaves nothing out: a sentence that is cut counts with all its gold spans.
    let train_examples = encode(&train, limits.too_long)?;
    let valid = encode(&valid, TooLong::Truncate)?;
    let test = encode(&test, TooLong::Truncate)?;
    for (split, examples) in [("training", &train_examples), ("validation", &valid)] {
        if examples.is_empty() {
            let reason = match encoder.skipped {
                0 => String::new(),
                n => format!(": {n} are longer than `training.max_source_len` or `max_target_len`"),
            };
            return Err(DataError::Empty { task: name(), split, reason });
        }
    }
    let Encoder { skipped, truncated, .. } = encoder;
    Ok(TaskData { name: name(), labels, train: train_examples, valid, test, skipped, truncated })
}

struct Encoder<'a> {
    codec: &'a SentT,
    limits: &'a TrainingConfig,
    skipped: usize,
    truncated: usize,
}

impl Encoder<'_> {
    fn examples(&mut self, sentences: &[Sentence], too_long: TooLong) -> Result<Vec<Example>, SentTError> {
        let mut examples = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            examples.extend(self.example(sentence, too_long)?);
        }
        Ok(examples)
    }

    fn example(&mut self, sentence: &Sentence, too_long: TooLong) -> Result<Option<Example>, SentTError> {
        let limits = self.limits;
        // Words beyond the last sentinel can be neither read nor tagged.
        let words = sentence.words.len().min(self.codec.max_words());
        let tags = bio_to_sbio(&sentence.tags[..words]);
        let source = self.codec.encode_source(&sentence.words[..words])?;
        let target = self.codec.encode_target(&tags)?;
        let fits = words == sentence.words.len()
            && source.len() <= limits.max_source_len
            && target.len() <= limits.max_target_len;
        if !fits {
            match too_long {
                TooLong::Skip => {
                    self.skipped += 1;
                    return Ok(None);
                }
                TooLong::Truncate => self.truncated += 1,
            }
        }
        let ids = |mut ids, limit| {
            self.codec.truncate(&mut ids, limit);
            ids.into_iter().map(i64::from).collect()
        };
        Ok(Some(Example {
            source: ids(source, limits.max_source_len),
            target: ids(target, limits.max_target_len),
            tags: sentence.tags.clone(),
        }))
    }
}

/// Examples of one task, right-padded to the longest.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, source_len]`, int64.
    pub input_ids: Tensor,
    /// 1 for a token, 0 for padding, `[batch, source_len]`, int64.
    pub attention_mask: Tensor,
    /// Targets, padding ignored in the loss, `[batch, target_len]`, int64.
    pub labels: Tensor,
}

impl Batch {
    /// Pads examples into tensors on `device`.
    pub fn new(examples: &[&Example], pad: i64, device: Device) -> Self {
        let sources: Vec<&[i64]> = examples.iter().map(|e| e.source.as_slice()).collect();
        let targets: Vec<&[i64]> = examples.iter().map(|e| e.target.as_slice()).collect();
        let ones: Vec<Vec<i64>> = sources.iter().map(|s| vec![1; s.len()]).collect();
        let ones: Vec<&[i64]> = ones.iter().map(Vec::as_slice).collect();
        Self {
            input_ids: padded(&sources, pad).to_device(device),
            attention_mask: padded(&ones, 0).to_device(device),
            labels: padded(&targets, pad).to_device(device),
        }
    }
}

/// Rows of different lengths as one tensor `[rows, longest]`, int64.
fn padded(rows: &[&[i64]], pad: i64) -> Tensor {
    let width = rows.iter().map(|r| r.len()).max().unwrap_or(0);
    let mut values = vec![pad; rows.len() * width];
    for (row, ids) in rows.iter().enumerate() {
        values[row * width..][..ids.len()].copy_from_slice(ids);
    }
    Tensor::from_slice(&values).view([rows.len() as i64, width as i64]).to_kind(Kind::Int64)
}
