//! The cost of tagging.

use std::iter::Sum;
use std::ops::AddAssign;

use serde::Serialize;

/// The cost of tagging so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Sentences tagged. A text that is tagged in parts is one.
    pub sentences: usize,
    /// Sources that were run: sentences, or their parts.
    pub parts: usize,
    /// Passes of the decoder, summed over parts: a pass over a batch counts once for each part in it. A token
    /// classifier makes one pass.
    pub passes: usize,
    /// Ids written; of a token classifier, tokens tagged.
    pub ids: usize,
    /// Passes that found a drafted id wrong.
    pub mistakes: usize,
    /// Parts whose drafts were abandoned because they failed too often.
    pub fallbacks: usize,
}

impl Statistics {
    /// The cost since it was `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            sentences: self.sentences.saturating_sub(before.sentences),
            parts: self.parts.saturating_sub(before.parts),
            passes: self.passes.saturating_sub(before.passes),
            ids: self.ids.saturating_sub(before.ids),
            mistakes: self.mistakes.saturating_sub(before.mistakes),
            fallbacks: self.fallbacks.saturating_sub(before.fallbacks),
        }
    }
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.sentences += other.sentences;
        self.parts += other.parts;
        self.passes += other.passes;
        self.ids += other.ids;
        self.mistakes += other.mistakes;
        self.fallbacks += other.fallbacks;
    }
}

impl Sum for Statistics {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}
