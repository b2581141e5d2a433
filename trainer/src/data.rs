//! Corpora as ids: examples of a task, and batches of one task.

use std::collections::HashSet;
use std::ops::Range;

use hyperloader_core::corpus::{Corpus, CorpusError, CorpusSpec, FileReport, Sentence, Splits, subset};
use hyperloader_core::text::labels::{LabelError, LabelSet};
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::spans::Bio;
use hyperloader_core::text::words::{WordFit, WordSplitting};
use hyperloader_core::text::writable::WritableError;
use tch::{Device, Kind, Tensor};

use crate::coding::{Coded, Coding, CodingError};
use crate::config::{Config, TooLong, TrainingConfig};

pub use crate::coding::IGNORED;

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
    /// The model cannot learn to write the labels.
    #[error("task `{task}`: {source}")]
    Labels {
        /// The task.
        task: String,
        /// The labels, and why.
        source: WritableError,
    },
    /// A sentence cannot be encoded.
    #[error("task `{task}`: {source}")]
    Encode {
        /// The task.
        task: String,
        /// The reason.
        source: CodingError,
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

/// A sentence, or a window of one, as the model sees it.
#[derive(Debug, Clone)]
pub struct Example {
    /// What the model reads: a SentT' source, `</s>` included, or `[CLS]`, sub-words and `[SEP]`.
    pub source: Vec<i64>,
    /// What it learns to give: a SentT' target, `</s>` included, or for each id of `source` the index of a BIO tag or
    /// [`IGNORED`].
    pub target: Vec<i64>,
    /// The words, also those that were cut off `source`.
    pub words: Vec<String>,
    /// Gold BIO tags of the file, one a word.
    pub tags: Vec<String>,
    /// Index of the sentence in its split; the windows of a sentence follow each other.
    pub sentence: usize,
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
    /// Sentences or windows that were cut off at a limit.
    pub truncated: usize,
    /// Sentences that were cut into windows.
    pub windowed: usize,
    /// Labels of the test split that no training example has, sorted.
    pub unseen_labels: Vec<String>,
    /// How free text is cut into words.
    pub words: WordSplitting,
    /// How well that reproduces the corpus' own tokens, if it has tokens.
    pub word_fit: Option<WordFit>,
    /// What reading each file did.
    pub files: Vec<FileReport>,
}

/// Reads and encodes a task's splits; `training.fraction` of the first two.
///
/// # Errors
/// If a file or a line of it is unusable, a label cannot be written, or no training or validation sentence remains.
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
    codec.check_labels(&labels).map_err(|source| DataError::Labels { task: name(), source })?;
    let prefix = codec
        .prefix(config.method.source_prefix(task))
        .map_err(|source| DataError::Encode { task: name(), source })?;
    let mut encoder =
        Encoder { codec, labels: &labels, prefix, limits, skipped: 0, truncated: 0, windowed: 0 };
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
                n => format!(": {n} are longer than `training.max_source_len` or `max_target_len`"),
            };
            return Err(DataError::Empty { task: name(), split, reason });
        }
    }
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

/// The length in tokens of the SentT' form of `words`, or of sBIO tags: one sentinel more than words, and `</s>`.
///
/// # Errors
/// If the tokenizer fails.
pub fn sentt_len<W: AsRef<str>>(codec: &SentT, words: &[W]) -> Result<usize, SentTError> {
    words.iter().try_fold(2, |length, word| Ok(length + 1 + codec.word(word)?.len()))
}

/// What examples are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Long sentences are treated as `training.too_long` says.
    Training,
    /// Nothing is left out: a sentence that is cut counts with all its gold spans. Gold tags do not tell where to cut.
    Evaluation,
}

struct Encoder<'a> {
    codec: &'a dyn Coding,
    labels: &'a LabelSet,
    /// Ids in front of each source.
    prefix: Vec<u32>,
    limits: &'a TrainingConfig,
    skipped: usize,
    truncated: usize,
    windowed: usize,
}

impl Encoder<'_> {
    fn examples(&mut self, sentences: &[Sentence], purpose: Purpose) -> Result<Vec<Example>, CodingError> {
        let mut examples = Vec::with_capacity(sentences.len());
        for (index, sentence) in sentences.iter().enumerate() {
            let windows = match self.limits.too_long {
                TooLong::Window => self.windows(sentence, purpose)?,
                TooLong::Skip | TooLong::Truncate => std::iter::once(0..sentence.words.len()).collect(),
            };
            self.windowed += usize::from(windows.len() > 1);
            for window in windows {
                examples.extend(self.example(index, sentence, window, purpose)?);
            }
        }
        Ok(examples)
    }

    fn example(
        &mut self,
        index: usize,
        sentence: &Sentence,
        window: Range<usize>,
        purpose: Purpose,
    ) -> Result<Option<Example>, CodingError> {
        let limits = self.limits;
        let (words, tags) = (&sentence.words[window.clone()], &sentence.tags[window.clone()]);
        // Words beyond the last sentinel can be neither read nor tagged.
        let readable = words.len().min(self.codec.max_words());
        let read = window.start..window.start + readable;
        let mut coded = self.codec.encode(&words[..readable], &sentence.tags, read, self.labels)?;
        coded.source.splice(..0, self.prefix.iter().copied());
        let fits = readable == words.len() && self.codec.fits(&coded, limits);
        if !fits && purpose == Purpose::Training && limits.too_long == TooLong::Skip {
            self.skipped += 1;
            return Ok(None);
        }
        self.truncated += usize::from(!fits);
        self.codec.truncate(&mut coded, limits);
        let Coded { source, target } = coded;
        Ok(Some(Example {
            source: source.into_iter().map(i64::from).collect(),
            target,
            words: words.to_vec(),
            tags: tags.to_vec(),
            sentence: index,
        }))
    }

    /// Consecutive ranges of words that each fit all limits, as few as possible. Training windows begin where no span goes on, if
    /// there is such a word.
    fn windows(&self, sentence: &Sentence, purpose: Purpose) -> Result<Vec<Range<usize>>, CodingError> {
        let tags = (purpose == Purpose::Training).then_some(&*sentence.tags);
        let goes_on =
            |at: usize| tags.is_some_and(|tags| matches!(Bio::parse(&tags[at]), Some(Bio::Inside(_))));
        let words = sentence.words.len();
        let mut windows = Vec::new();
        let mut start = 0;
        while start < words {
            let reach = self.reach(&sentence.words, tags, start)?;
            let end = (start + 1..=reach).rev().find(|end| *end == words || !goes_on(*end)).unwrap_or(reach);
            windows.push(start..end);
            start = end;
        }
        Ok(windows)
    }

    /// One past the last word of the longest window from `start` on, of at least one word. Without `tags`, each counts as one token,
    /// the least that it can have.
    fn reach(&self, words: &[String], tags: Option<&[String]>, start: usize) -> Result<usize, CodingError> {
        // What stands around the words: a sentinel and `</s>`, or `[CLS]` and `[SEP]`.
        let (mut source, mut target) = (self.prefix.len() + 2, 2);
        for (at, word) in words.iter().enumerate().skip(start) {
            source += self.codec.word_tokens(word)?;
            target += self.codec.tag_tokens(tags, at, at == start)?;
            let fits = at - start < self.codec.max_words()
                && source <= self.limits.max_source_len
                && target <= self.limits.max_target_len;
            if !fits && at > start {
                return Ok(at);
            }
        }
        Ok(words.len())
    }
}

/// Examples of one task, right-padded to the longest.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, source_len]`, int64.
    pub input_ids: Tensor,
    /// 1 for a token, 0 for padding, `[batch, source_len]`, int64.
    pub attention_mask: Tensor,
    /// Targets, padding ignored in the loss, `[batch, target_len]`, int64; as long as the source where tags are its targets.
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
pub(crate) fn padded(rows: &[&[i64]], pad: i64) -> Tensor {
    let width = rows.iter().map(|r| r.len()).max().unwrap_or(0);
    let mut values = vec![pad; rows.len() * width];
    for (row, ids) in rows.iter().enumerate() {
        values[row * width..][..ids.len()].copy_from_slice(ids);
    }
    Tensor::from_slice(&values).view([rows.len() as i64, width as i64]).to_kind(Kind::Int64)
}
