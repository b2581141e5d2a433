//! A tagged sentence as JSON: what `hl-run --output-format jsonl` writes beside the text.

use std::borrow::Cow;

use hyperloader_core::corpus::OffsetUnit;
use hyperloader_core::text::scores::rounded;
use serde::Serialize;

use crate::output::{Tagged, TaggedSpan};
use crate::scores::{SentenceScores, TagScore};

/// What a model found in a text. Serialized, it has `spans` and, where they are known, `score`, `tag_scores`, `abstained`,
/// `withheld`, `tokens` and `tags`.
#[derive(Debug, Clone, Serialize)]
pub struct Answer<'a> {
    /// The spans, with offsets in the unit that was asked for.
    pub spans: Cow<'a, [TaggedSpan]>,
    #[serde(flatten)]
    scored: Scored<'a>,
    /// The words that the tags belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<&'a str>>,
    /// A tag for each word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<&'a [String]>,
}

impl<'a> Answer<'a> {
    /// The names of the fields that scores and guarantees add.
    pub const SCORE_FIELDS: [&'static str; 4] = ["score", "tag_scores", "abstained", "withheld"];

    /// The spans with offsets in `unit`, and the scores; without tokens and tags.
    pub fn new(tagged: &'a Tagged, unit: OffsetUnit) -> Self {
        Self { spans: tagged.spans_in(unit), scored: Scored::new(tagged), tokens: None, tags: None }
    }
}

/// Why a record could not be tagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault<'a> {
    /// The error.
    pub message: &'a str,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
    /// The place of the record in the input, such as `sentences.txt:3`.
    pub place: String,
}

/// What is known of a sentence besides its spans.
#[derive(Debug, Clone, Serialize)]
struct Scored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_scores: Option<Vec<ScoredTag<'a>>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    abstained: bool,
    /// Number of spans that are withheld, if any are.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<usize>,
}

/// A tag with its score.
#[derive(Debug, Clone, Serialize)]
struct ScoredTag<'a> {
    tag: &'a str,
    #[serde(flatten)]
    score: TagScore,
}

impl<'a> Scored<'a> {
    fn new(tagged: &'a Tagged) -> Self {
        let tag = |(tag, score): (&'a String, &TagScore)| ScoredTag { tag, score: *score };
        let tags = |scores: &SentenceScores| tagged.tags.iter().zip(&scores.tags).map(tag).collect();
        Self {
            score: tagged.scores.as_ref().map(|scores| rounded(scores.score)),
            // Scores of tags that are withheld are not those of `O`.
            tag_scores: tagged
                .scores
                .as_ref()
                .filter(|_| !tagged.abstained && tagged.withheld == 0)
                .map(tags),
            abstained: tagged.abstained,
            withheld: Some(tagged.withheld).filter(|withheld| *withheld > 0),
        }
    }
}
