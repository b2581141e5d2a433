//! What the scores of a calibration's data are compared with.

/// A score, from 0 to 1, and whether what has it is correct.
pub type Judged = (f64, bool);

/// A sentence with the score of its tags and whether one of them is wrong, or a span with its score and whether it is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Score of the sentence or of the span, from 0 to 1.
    pub score: f64,
    /// Whether any tag of the sentence differs from gold, or gold does not have the span.
    pub is_wrong: bool,
}

impl Outcome {
    /// The score, and whether all is correct.
    pub fn judged(self) -> Judged {
        (self.score, !self.is_wrong)
    }
}
