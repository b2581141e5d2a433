//! `hl-train corpora`: what corpora hold, counted as a training would read them, without a model.

use hyperloader_core::causes::with_causes;
use hyperloader_core::corpus::stats::{CorpusStats, SplitStats};
use hyperloader_core::corpus::{Corpus, CorpusError, CorpusSpec, FileReport, Layout, Sentence, subset_size};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::percentiles::Percentiles;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::words::WordSplitting;
use serde::{Serialize, Serializer};

use crate::config::TrainingConfig;
use crate::data::Coding;

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
    Encode(#[from] CodingError),
}

/// Lengths beyond which a sentence is too long.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Words: one less than a T5 has sentinels; none for a BERT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<usize>,
    /// Tokens of the source, `</s>` or `[SEP]` included.
    pub source_tokens: usize,
    /// Tokens of the target, `</s>` included; none for a BERT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_tokens: Option<usize>,
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
    /// Sentences over any limit.
    #[serde(skip)]
    pub too_long: usize,
    /// Lengths in tokens, if there is a tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenLengths>,
}

/// Lengths in tokens.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TokenLengths {
    /// Of the source, with the method's prefix, `</s>` or `[SEP]` included.
    pub source: Percentiles,
    /// Of the target, `</s>` included, if it is a text of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Percentiles>,
    /// Sentences whose source exceeds [`Limits::source_tokens`].
    pub over_source: usize,
    /// Sentences whose target exceeds [`Limits::target_tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_target: Option<usize>,
}

impl Corpora {
    /// Reads and counts `corpora` as a training with `method` would. One that cannot be read keeps none of the others from
    /// being counted. Without `codec`, lengths in tokens are left out.
    pub fn count(
        corpora: Vec<(String, CorpusSpec)>,
        codec: Option<&dyn Coding>,
        training: &TrainingConfig,
        method: &MethodConfig,
    ) -> Self {
        let words = codec.map_or(T5_MAX_WORDS, Coding::max_words);
        let limits = Limits {
            words: (words < usize::MAX).then_some(words),
            source_tokens: training.max_source_len,
            target_tokens: codec.is_none_or(Coding::writes_targets).then_some(training.max_target_len),
        };
        let count = |(name, spec): (String, CorpusSpec)| {
            let prefix = method.source_prefix(&name);
            let result = CorpusNumbers::count(&spec, codec.map(|codec| Coder { codec, prefix }), limits);
            Counted { name, result }
        };
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
    fn count(spec: &CorpusSpec, coder: Option<Coder<'_>>, limits: Limits) -> Result<Self, CountError> {
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
                train: Lengths::of(&splits.train, coder, limits)?,
                valid: Lengths::of(&splits.valid, coder, limits)?,
                test: Lengths::of(&splits.test, coder, limits)?,
            },
        })
    }

    /// Counts of the splits: train, valid, test.
    pub fn splits(&self) -> [&SplitStats; 3] {
        [&self.stats.train, &self.stats.valid, &self.stats.test]
    }
}

/// A codec, and the text before each source.
#[derive(Clone, Copy)]
struct Coder<'a> {
    codec: &'a dyn Coding,
    prefix: &'a str,
}

/// The length of a sentence in tokens.
#[derive(Clone, Copy)]
struct Length {
    source: usize,
    target: Option<usize>,
}

impl Coder<'_> {
    fn lengths(self, sentences: &[Sentence]) -> Result<Vec<Length>, CodingError> {
        // Two tokens besides the words: the last sentinel and `</s>`, or `[CLS]` and `[SEP]`.
        let (before, codec) = (self.codec.prefix(self.prefix)?.len() + 2, self.codec);
        let length = |sentence: &Sentence| {
            let mut source = before;
            for word in &sentence.words {
                source += codec.word_tokens(word)?;
            }
            let target = codec.writes_targets().then(|| {
                let tags = 0..sentence.tags.len();
                let tokens = |at: usize| codec.tag_tokens(Some(&sentence.tags), at, at == 0);
                tags.map(tokens).try_fold(2, |sum, tokens| Ok::<_, CodingError>(sum + tokens?))
            });
            Ok(Length { source, target: target.transpose()? })
        };
        sentences.iter().map(length).collect()
    }
}

impl Lengths {
    fn of(sentences: &[Sentence], coder: Option<Coder<'_>>, limits: Limits) -> Result<Self, CodingError> {
        let over_words = |sentence: &Sentence| limits.words.is_some_and(|most| sentence.words.len() > most);
        let over_target = |length: Length| {
            length.target.zip(limits.target_tokens).is_some_and(|(target, most)| target > most)
        };
        let over_source = |length: Length| length.source > limits.source_tokens;
        let lengths = coder.map(|coder| coder.lengths(sentences)).transpose()?;
        let is_long = |(at, sentence): (usize, &Sentence)| {
            let length = lengths.as_ref().map(|lengths| lengths[at]);
            over_words(sentence) || length.is_some_and(|length| over_source(length) || over_target(length))
        };
        let tokens = lengths.as_ref().map(|lengths| {
            let targets: Option<Vec<usize>> = lengths.iter().map(|length| length.target).collect();
            let targets = targets.filter(|_| limits.target_tokens.is_some());
            TokenLengths {
                source: Percentiles::of(lengths.iter().map(|length| length.source).collect()),
                over_source: lengths.iter().filter(|length| over_source(**length)).count(),
                over_target: targets
                    .is_some()
                    .then(|| lengths.iter().filter(|length| over_target(**length)).count()),
                target: targets.map(Percentiles::of),
            }
        });
        Ok(Self {
            over_words: sentences.iter().filter(|sentence| over_words(sentence)).count(),
            too_long: sentences.iter().enumerate().filter(|sentence| is_long(*sentence)).count(),
            tokens,
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
