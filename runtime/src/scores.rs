//! Scores as the interface gives them, and the threshold below which tags are withheld.

use std::path::Path;

use hyperloader_core::calibration::map::ScoreMaps;
use hyperloader_core::calibration::selection::Threshold;
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::scores::Score;
use serde::{Serialize, Serializer};

use crate::error::{GuaranteeFault, OpenError};
use crate::input::Reader;
use crate::options::{Mode, Split, TaggerOptions, Words};

/// The score of a tag or of a span (docs/scores.md#definitions).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TagScore {
    /// Probability that the model gives to it, calibrated, from 0 to 1. Of a span: the product over its words, calibrated.
    #[serde(serialize_with = "rounded")]
    pub score: f64,
    /// By how many nats the log-probability exceeds that of the best other tag, at the id where that is least; infinite if
    /// there is no other. Of a span: the least margin of its words.
    #[serde(serialize_with = "rounded")]
    pub margin: f64,
}

/// Six decimals: more are noise of float32.
fn rounded<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((number * 1e6).round() / 1e6)
}

/// The scores of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SentenceScores {
    /// Probability of the model's whole output, calibrated, from 0 to 1.
    #[serde(serialize_with = "rounded")]
    pub score: f64,
    /// The score of each word's tag.
    pub tags: Vec<TagScore>,
}

impl TagScore {
    pub(crate) fn new(score: Score, maps: &ScoreMaps) -> Self {
        Self { score: maps.of_tag(score.probability()), margin: score.margin }
    }
}

/// The threshold that gives the guarantee of `options`; `None` if none is asked for.
///
/// # Errors
/// If the file has no calibration for it, its options are not those of the calibration, or no threshold gives it.
pub(crate) fn threshold(
    metadata: &TaggerMetadata,
    options: &TaggerOptions,
    path: &Path,
) -> Result<Option<Threshold>, OpenError> {
    let Some(guarantee) = options.guarantee else { return Ok(None) };
    let error = |fault| OpenError::Guarantee { path: path.to_owned(), source: fault };
    let calibration = metadata.calibration.as_ref().ok_or_else(|| error(GuaranteeFault::NotCalibrated))?;
    let table = calibration.selection.as_ref().ok_or_else(|| error(GuaranteeFault::OtherPrecision))?;
    if !matches!(options.mode, Mode::Greedy | Mode::Verified) {
        return Err(error(GuaranteeFault::Mode { mode: options.mode }));
    }
    if options.align != calibration.alignment {
        return Err(error(GuaranteeFault::Alignment));
    }
    // Words that are given as words are taken as those of the corpus, as `Tagger::tag_words` takes them.
    let splitting = Reader::new(options.words, metadata.words).splitting();
    if options.words != Words::PreTokenized && splitting != metadata.words {
        return Err(error(GuaranteeFault::Words { words: options.words }));
    }
    if options.split == Split::Sentences {
        return Err(error(GuaranteeFault::Split { split: options.split }));
    }
    match table.threshold(guarantee) {
        Some(threshold) => Ok(Some(threshold)),
        None => Err(error(GuaranteeFault::NoThreshold {
            percent: 100.0 * guarantee.max_error,
            confidence: 100.0 * guarantee.confidence,
            sentences: table.sentences(),
        })),
    }
}
