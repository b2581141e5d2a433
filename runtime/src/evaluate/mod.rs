//! Evaluation of a tagger on labeled sentences: scores of the file that is used, with its words, limits and parts.
//!
//! - [`Evaluation`]: scores, error analysis and speed of one tagger
//! - [`Comparison`] (`compare`): two taggers on the same sentences

mod compare;

use std::collections::BTreeSet;
use std::time::Instant;

use hyperloader_core::corpus::{MarkedText, Predicted, Sentence, exact_scores};
use hyperloader_core::evaluate::{self, Details};
use hyperloader_core::text::metrics::{MetricError, Report, Scores, evaluate};
use hyperloader_core::text::spans::{Bio, SpanMode};
use serde::Serialize;

pub use self::compare::{Comparison, Difference};
use crate::backend::BackendError;
use crate::error::SentenceError;
use crate::output::Tagged;
use crate::statistics::Statistics;
use crate::tagger::Tagger;

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A sentence has another number of tags than words.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The tagger has a guarantee: what it withholds would be scored as `O`.
    #[error(
        "the tagger withholds tags, which would be scored as `O`\n\
         hint: open it without a guarantee"
    )]
    Withholds,
}

impl EvaluationError {
    /// Whether the fault is the program's or the runtime's: the options and the files are in order.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Backend(error) => error.is_internal(),
            // Readers of corpora give a tag for each word.
            Self::Metric(_) => true,
            Self::Withholds => false,
        }
    }
}

/// The scores of a tagger on labeled sentences.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Sentences that were scored.
    pub sentences: usize,
    /// Their words.
    pub words: usize,
    /// Sentences that could not be tagged. All their words are scored as `O`.
    pub untagged: Vec<Untagged>,
    /// Sentences whose target reached its longest length: their last words may lack tags.
    pub incomplete: usize,
    /// Words that the tagger did not read, because each alone takes more tokens than it does.
    pub unread_words: usize,
    /// Labels of the gold spans that the tagger does not have. It misses all their spans.
    pub unknown_labels: BTreeSet<String>,
    /// The scores as seqeval gives them: a span is right if its label and words are.
    pub scores: Report,
    /// The scores of spans of characters ([`exact_scores`]), if any sentence is a text with spans: a gold span that begins or ends
    /// inside a word is never found.
    pub exact: Option<Scores>,
    /// Confusions, and the sentences with the most wrong tags.
    pub details: Details,
    /// Time for tagging.
    pub seconds: f64,
    /// The cost of tagging.
    pub statistics: Statistics,
    /// The predicted BIO tags of each sentence.
    #[serde(skip)]
    pub predicted: Vec<Vec<String>>,
}

/// A sentence that could not be tagged.
#[derive(Debug, Clone, Serialize)]
pub struct Untagged {
    /// Line of the file at which it begins, from 1.
    pub line: usize,
    /// The reason.
    pub error: String,
}

impl Evaluation {
    /// Tags `sentences` with `tagger` and scores the tags. A sentence that has its raw text and spans is tagged as text; others are
    /// tagged as their words.
    ///
    /// # Errors
    /// If the tagger withholds tags, the backend fails, or a sentence has another number of tags than words.
    pub fn new(tagger: &Tagger, sentences: &[Sentence]) -> Result<Self, EvaluationError> {
        if tagger.threshold().is_some() {
            return Err(EvaluationError::Withholds);
        }
        let (before, began) = (tagger.statistics(), Instant::now());
        let mut tagged = Vec::with_capacity(sentences.len());
        for window in sentences.chunks(tagger.window()) {
            tagged.extend(tagger.tag_corpus(window)?);
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut evaluation = Self::of(tagger, sentences, tagged)?;
        (evaluation.seconds, evaluation.statistics) = (seconds, tagger.statistics().since(before));
        Ok(evaluation)
    }

    fn of(
        tagger: &Tagger,
        sentences: &[Sentence],
        tagged: Vec<Result<Tagged, SentenceError>>,
    ) -> Result<Self, EvaluationError> {
        let (mut untagged, mut incomplete, mut unread_words) = (vec![], 0, 0);
        let mut predicted = Vec::with_capacity(sentences.len());
        for (sentence, tagged) in sentences.iter().zip(tagged) {
            predicted.push(match tagged {
                Ok(tagged) => {
                    incomplete += usize::from(!tagged.complete);
                    unread_words += tagged.unread.len();
                    tagged.tags
                }
                Err(error) => {
                    untagged.push(Untagged { line: sentence.line, error: error.to_string() });
                    vec!["O".to_owned(); sentence.words.len()]
                }
            });
        }
        let tags = |sentence: &Sentence| sentence.tags.clone();
        let scores =
            evaluate(&sentences.iter().map(tags).collect::<Vec<_>>(), &predicted, SpanMode::Default)?;
        let rows = sentences.iter().zip(&predicted);
        let rows: Vec<evaluate::Sentence> = rows
            .map(|(sentence, predicted)| evaluate::Sentence {
                words: &sentence.words,
                gold: &sentence.tags,
                predicted,
            })
            .collect();
        Ok(Self {
            sentences: sentences.len(),
            words: sentences.iter().map(|sentence| sentence.words.len()).sum(),
            untagged,
            incomplete,
            unread_words,
            unknown_labels: unknown_labels(sentences, &tagger.metadata().labels),
            details: Details::new(&scores, &rows),
            scores,
            exact: exact(sentences, &predicted),
            seconds: 0.0,
            statistics: Statistics::default(),
            predicted,
        })
    }
}

/// The labels of gold spans that are not in `known`.
fn unknown_labels(sentences: &[Sentence], known: &[String]) -> BTreeSet<String> {
    let labels =
        sentences.iter().flat_map(|sentence| &sentence.tags).filter_map(|tag| Bio::parse(tag)?.label());
    labels.filter(|label| !known.iter().any(|known| known == label)).map(str::to_owned).collect()
}

/// The scores of spans as characters.
fn exact(sentences: &[Sentence], predicted: &[Vec<String>]) -> Option<Scores> {
    let marked: Vec<Option<MarkedText>> = sentences.iter().map(Sentence::marked_text).collect();
    let rows = sentences.iter().zip(&marked).zip(predicted);
    exact_scores(rows.map(|((sentence, marked), tags)| Predicted {
        gold: &sentence.tags,
        marked: marked.as_ref(),
        tags,
    }))
}
