//! `hl-train corpora`: what corpora hold, counted as a training would read them, without a model.

use hyperloader_core::causes::with_causes;
use hyperloader_core::corpus::stats::{CorpusStats, Percentiles, SplitStats};
use hyperloader_core::corpus::{Corpus, CorpusError, CorpusSpec, FileReport, Layout, Sentence, subset_size};
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::spans::bio_to_sbio;
use hyperloader_core::text::words::WordSplitting;
use serde::{Serialize, Serializer};

use crate::config::TrainingConfig;
use crate::data::sentt_len;

/// Shares of the low-resource settings (paper, section 4.4; docs/reference/encodings.md#low-resource-subsets).
const FRACTIONS: [f64; 3] = [0.1, 0.2, 0.5];

/// Most words of a sentence with T5's 100 sentinels.
const T5_MAX_WORDS: usize = 99;

/// A corpus could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// It could not be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A sentence of it could not be encoded.
    #[error(transparent)]
    Encode(#[from] SentTError),
}

/// Lengths beyond which a sentence is too long.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Words: one less than there are sentinels.
    pub words: usize,
    /// Tokens of the source, `</s>` included.
    pub source_tokens: usize,
    /// Tokens of the target, `</s>` included.
    pub target_tokens: usize,
}

/// Some corpora, in the order in which they were asked for.
#[derive(Debug, Serialize)]
pub struct Corpora {
    /// The limits that lengths were compared with.
    pub limits: Limits,
    /// What became of each.
    pub corpora: Vec<Counted>,
}

/// A corpus by its name, or why it could not be counted.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// The task's name.
    pub name: String,
    /// Its numbers.
    #[serde(flatten, serialize_with = "numbers_or_error")]
    pub result: Result<CorpusNumbers, CountError>,
}

/// Counts of a corpus.
#[derive(Debug, Serialize)]
pub struct CorpusNumbers {
    /// The layout of its training file.
    pub layout: Layout,
    /// How free text is cut into words.
    pub words: WordSplitting,
    /// The report on reading each file.
    pub files: Vec<FileReport>,
    /// Sentences, spans by label, duplicates, ill-formed tags.
    #[serde(flatten)]
    pub stats: CorpusStats,
    /// Sizes of the low-resource subsets.
    pub subsets: Vec<Subset>,
    /// Lengths of the sentences.
    pub lengths: SplitLengths,
}

/// Lengths by split.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SplitLengths {
    /// Of training sentences.
    pub train: Lengths,
    /// Of validation sentences.
    pub valid: Lengths,
    /// Of test sentences.
    pub test: Lengths,
}

/// A low-resource subset.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Subset {
    /// Its share.
    pub fraction: f64,
    /// Training sentences.
    pub train: usize,
    /// Validation sentences.
    pub valid: usize,
}

/// Lengths of a split's sentences.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Lengths {
    /// Sentences with more words than [`Limits::words`].
    pub over_words: usize,
    /// Lengths in tokens, if there is a tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenLengths>,
}

/// Lengths in tokens.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TokenLengths {
    /// Of the SentT' source, `</s>` included.
    pub source: Percentiles,
    /// Of the SentT' target, `</s>` included.
    pub target: Percentiles,
    /// Sentences whose source exceeds [`Limits::source_tokens`].
    pub over_source: usize,
    /// Sentences whose target exceeds [`Limits::target_tokens`].
    pub over_target: usize,
}

impl Corpora {
    /// Reads and counts `corpora`. One that cannot be read keeps none of the others from being counted.
    pub fn count(
        corpora: Vec<(String, CorpusSpec)>,
        codec: Option<&SentT>,
        training: &TrainingConfig,
    ) -> Self {
        let limits = Limits {
            words: codec.map_or(T5_MAX_WORDS, SentT::max_words),
            source_tokens: training.max_source_len,
            target_tokens: training.max_target_len,
        };
        let count = |(name, spec)| Counted { name, result: CorpusNumbers::count(&spec, codec, limits) };
        Self { limits, corpora: corpora.into_iter().map(count).collect() }
    }

    /// The corpora that could be counted, by name.
    pub fn counted(&self) -> impl Iterator<Item = (&str, &CorpusNumbers)> {
        self.corpora.iter().filter_map(|corpus| Some((&*corpus.name, corpus.result.as_ref().ok()?)))
    }

    /// The others, by name.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &CountError)> {
        self.corpora.iter().filter_map(|corpus| Some((&*corpus.name, corpus.result.as_ref().err()?)))
    }
}

impl CorpusNumbers {
    fn count(spec: &CorpusSpec, codec: Option<&SentT>, limits: Limits) -> Result<Self, CountError> {
        let Corpus { splits, files, words, .. } = spec.read()?;
        let layout = files.first().map_or(Layout::Text, |file| file.report.layout);
        let stats = CorpusStats::of(&splits, &files);
        let subset = |fraction| Subset {
            fraction,
            train: subset_size(splits.train.len(), fraction),
            valid: subset_size(splits.valid.len(), fraction),
        };
        Ok(Self {
            layout,
            words,
            files,
            stats,
            subsets: FRACTIONS.map(subset).to_vec(),
            lengths: SplitLengths {
                train: Lengths::of(&splits.train, codec, limits)?,
                valid: Lengths::of(&splits.valid, codec, limits)?,
                test: Lengths::of(&splits.test, codec, limits)?,
            },
        })
    }

    /// Counts of the splits: train, valid, test.
    pub fn splits(&self) -> [&SplitStats; 3] {
        [&self.stats.train, &self.stats.valid, &self.stats.test]
    }
}

impl Lengths {
    fn of(sentences: &[Sentence], codec: Option<&SentT>, limits: Limits) -> Result<Self, SentTError> {
        let over_words = sentences.iter().filter(|sentence| sentence.words.len() > limits.words).count();
        let tokens = codec.map(|codec| TokenLengths::of(sentences, codec, limits)).transpose()?;
        Ok(Self { over_words, tokens })
    }
}

impl TokenLengths {
    fn of(sentences: &[Sentence], codec: &SentT, limits: Limits) -> Result<Self, SentTError> {
        let source = |sentence: &Sentence| sentt_len(codec, &sentence.words);
        let target = |sentence: &Sentence| sentt_len(codec, &bio_to_sbio(&sentence.tags));
        let sources = sentences.iter().map(source).collect::<Result<Vec<usize>, _>>()?;
        let targets = sentences.iter().map(target).collect::<Result<Vec<usize>, _>>()?;
        let over = |lengths: &[usize], limit| lengths.iter().filter(|length| **length > limit).count();
        Ok(Self {
            over_source: over(&sources, limits.source_tokens),
            over_target: over(&targets, limits.target_tokens),
            source: Percentiles::of(sources),
            target: Percentiles::of(targets),
        })
    }
}

fn numbers_or_error<S: Serializer>(
    result: &Result<CorpusNumbers, CountError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Failure {
        error: String,
    }
    match result {
        Ok(numbers) => numbers.serialize(serializer),
        Err(error) => Failure { error: with_causes(error) }.serialize(serializer),
    }
}
