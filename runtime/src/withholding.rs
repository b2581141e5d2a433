//! Which tags are withheld, so that a guarantee holds for the others (docs/scores.md).

use std::path::Path;

use hyperloader_core::calibration::selection::{Guarantee, Threshold, Unit};
use hyperloader_core::format::tagger::{TaggerKind, TaggerMetadata};

use crate::error::{GuaranteeFault, OpenError};
use crate::input::Reader;
use crate::options::{Mode, Split, TaggerOptions, Words};
use crate::output::Tagged;

/// When tags are withheld.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Withholding {
    /// Those of sentences below a threshold.
    Sentences(Threshold),
    /// Those of spans below a threshold, and of all but the `most` spans of a sentence with the highest scores.
    Spans { threshold: Threshold, most: usize },
}

impl Withholding {
    /// The threshold.
    pub(crate) fn threshold(self) -> Threshold {
        match self {
            Self::Sentences(threshold) | Self::Spans { threshold, .. } => threshold,
        }
    }

    /// `tagged` without the tags that are withheld: all of them if it `is_whole` is false. Sentences that are tagged in parts
    /// were not calibrated.
    pub(crate) fn apply(self, tagged: Tagged, is_whole: bool) -> Tagged {
        match (self, is_whole) {
            (Self::Sentences(threshold), true) => tagged.answered_from(threshold.score),
            (Self::Sentences(_), false) => tagged.abstain(),
            (Self::Spans { threshold, most }, true) => tagged.spans_from(threshold.score, most),
            (Self::Spans { .. }, false) => tagged.spans_from(f64::INFINITY, 0),
        }
    }
}

/// How the guarantee of `options` is given; `None` if none is asked for.
///
/// # Errors
/// If the file has no calibration for it, its options are not those of the calibration, or no threshold gives it.
pub(crate) fn withholding(
    metadata: &TaggerMetadata,
    options: &TaggerOptions,
    path: &Path,
) -> Result<Option<Withholding>, OpenError> {
    let Some(guarantee) = options.guarantee else { return Ok(None) };
    let fault = |source| OpenError::Guarantee { path: path.to_owned(), source };
    given(guarantee, metadata, options).map(Some).map_err(fault)
}

fn given(
    guarantee: Guarantee,
    metadata: &TaggerMetadata,
    options: &TaggerOptions,
) -> Result<Withholding, GuaranteeFault> {
    let calibration = metadata.calibration.as_ref().ok_or(GuaranteeFault::NotCalibrated)?;
    let sentences = calibration.selection.as_ref().ok_or(GuaranteeFault::OtherPrecision)?;
    // Token classifiers decode nothing, and ignore both options.
    if metadata.kind == TaggerKind::EncoderDecoder {
        if !matches!(options.mode, Mode::Greedy | Mode::Verified) {
            return Err(GuaranteeFault::Mode { mode: options.mode });
        }
        if options.align != calibration.alignment {
            return Err(GuaranteeFault::Alignment);
        }
    }
    // Words that are given as words are taken as those of the corpus, as `Tagger::tag_words` takes them.
    let splitting = Reader::new(options.words, metadata.words).splitting();
    if options.words != Words::PreTokenized && splitting != metadata.words {
        return Err(GuaranteeFault::Words { words: options.words });
    }
    if options.split == Split::Sentences {
        return Err(GuaranteeFault::Split { split: options.split });
    }
    let none = |count| GuaranteeFault::NoThreshold {
        percent: 100.0 * guarantee.max_error,
        confidence: 100.0 * guarantee.confidence,
        unit: guarantee.of,
        count,
    };
    match guarantee.of {
        Unit::Sentences => {
            let threshold = sentences.threshold(guarantee).ok_or_else(|| none(sentences.count()))?;
            Ok(Withholding::Sentences(threshold))
        }
        Unit::Spans => {
            let spans = calibration.spans.as_ref().ok_or(GuaranteeFault::NoSpans)?;
            let threshold = spans.threshold(guarantee).ok_or_else(|| none(spans.table.count()))?;
            Ok(Withholding::Spans { threshold, most: spans.most.get() })
        }
    }
}
