//! Scores as the interface gives them.

use hyperloader_core::calibration::map::ScoreMaps;
use hyperloader_core::text::scores::{Score, rounded};
use serde::{Serialize, Serializer};

/// The score of a tag or of a span (docs/scores.md#definitions).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TagScore {
    /// Probability that the model gives to it, calibrated, from 0 to 1. Of a span: the product over its words, calibrated.
    #[serde(serialize_with = "six_decimals")]
    pub score: f64,
    /// By how many nats the log-probability exceeds that of the best other tag, at the id where that is least; infinite if
    /// there is no other. Of a span: the least margin of its words.
    #[serde(serialize_with = "six_decimals")]
    pub margin: f64,
}

fn six_decimals<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*number))
}

/// The scores of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SentenceScores {
    /// Probability of the model's whole output, calibrated, from 0 to 1.
    #[serde(serialize_with = "six_decimals")]
    pub score: f64,
    /// The score of each word's tag.
    pub tags: Vec<TagScore>,
}

impl TagScore {
    pub(crate) fn new(score: Score, maps: &ScoreMaps) -> Self {
        Self { score: maps.of_tag(score.probability()), margin: score.margin }
    }
}
