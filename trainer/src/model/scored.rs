//! Predicted tags with their scores.

use hyperloader_core::text::scores::Score;

/// The predicted tags of an example, scored at several temperatures.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The BIO tags as `hl-run` gives them, one per word.
    pub tags: Vec<String>,
    /// The scores at each temperature.
    pub at: Vec<ExampleScores>,
}

/// The scores of an example's tags.
#[derive(Debug, Clone, PartialEq)]
pub struct ExampleScores {
    /// The score of the model's whole output.
    pub example: Score,
    /// The score of each word's tag.
    pub tags: Vec<Score>,
}
