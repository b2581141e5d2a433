//! Calibration of a tagger's scores on data that it was not trained on (docs/scores.md).
//!
//! - [`Calibration`]: what a run and an exported file hold.
//! - [`Outcome`] (`outcome`): a scored sentence or span, and whether it is wrong.
//! - [`temperature`]: the number that the logits are divided by.
//! - [`map`]: a monotone map from scores to calibrated scores.
//! - [`reliability`]: how far scores are from the share of correct tags.
//! - [`selection`]: thresholds with a guarantee on the error rate.
//! - [`spans`]: the same for spans.
//! - [`binomial`]: exact binomial bounds.

pub mod binomial;
pub mod map;
mod outcome;
pub mod reliability;
pub mod selection;
pub mod spans;
pub mod temperature;

use serde::{Deserialize, Serialize};

use self::map::ScoreMaps;
pub use self::outcome::{Judged, Outcome};
use self::selection::SelectionTable;
use self::spans::SpanTable;
use crate::text::target::Alignment;

/// The calibration of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The logits are divided by it before the softmax.
    pub temperature: f64,
    /// How written tags were assigned to words.
    #[serde(default)]
    pub alignment: Alignment,
    /// Maps from the probabilities of the model to scores.
    #[serde(default, skip_serializing_if = "ScoreMaps::is_empty")]
    pub maps: ScoreMaps,
    /// Counts of right and wrong sentences by mapped score. They hold for the weights that were calibrated only: a file of another
    /// precision has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionTable>,
    /// Counts of right and wrong spans by mapped score, for the same weights only. Absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<SpanTable>,
}

impl Default for Calibration {
    /// Scores are the probabilities of the model.
    fn default() -> Self {
        let (alignment, maps) = (Alignment::default(), ScoreMaps::default());
        Self { temperature: 1.0, alignment, maps, selection: None, spans: None }
    }
}

impl Calibration {
    /// The temperature in the precision of logits.
    pub fn divisor(&self) -> f32 {
        self.temperature as f32
    }

    /// Whether the temperature can divide logits.
    pub fn is_usable(&self) -> bool {
        self.divisor().is_normal() && self.divisor() > 0.0
    }
}
