//! Reliability of scores: how often the tags with a score are correct.

use serde::{Deserialize, Serialize};

/// Number of bins of equal width.
pub const BINS: usize = 15;

/// The tags whose scores lie in a bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Number of tags.
    pub count: u64,
    /// Number of correct tags.
    pub correct: u64,
    /// Sum of their scores.
    pub score: f64,
}

/// Scores and correctness of tags in [`BINS`] bins: bin `n` holds scores from `n / BINS` to `(n + 1) / BINS`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The bins, by ascending scores.
    pub bins: [Bin; BINS],
}

impl Reliability {
    /// Counts a tag with this `score`, from 0 to 1.
    pub fn add(&mut self, score: f64, is_correct: bool) {
        let bin = &mut self.bins[((score * BINS as f64) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.correct += u64::from(is_correct);
        bin.score += score;
    }

    /// Number of tags.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// The expected calibration error (Naeini et al. 2015), from 0 to 1: the mean distance between mean score and share of
    /// correct tags of the bins, weighted by their counts. 0 without tags.
    pub fn error(&self) -> f64 {
        let distances: f64 = self.bins.iter().map(|bin| (bin.score - bin.correct as f64).abs()).sum();
        distances / self.count().max(1) as f64
    }
}

impl Extend<(f64, bool)> for Reliability {
    fn extend<I: IntoIterator<Item = (f64, bool)>>(&mut self, tags: I) {
        tags.into_iter().for_each(|(score, is_correct)| self.add(score, is_correct));
    }
}

impl FromIterator<(f64, bool)> for Reliability {
    fn from_iter<I: IntoIterator<Item = (f64, bool)>>(tags: I) -> Self {
        let mut reliability = Self::default();
        reliability.extend(tags);
        reliability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_weighted_distance_of_the_bins() {
        let mut tags = Reliability::default();
        assert_eq!((tags.count(), tags.error()), (0, 0.0));
        // One bin: mean score 0.95, half correct. Another: score 0.1, none correct.
        tags.extend([(0.94, true), (0.96, false), (0.1, false), (0.1, false)]);
        assert!((tags.error() - (0.9 + 0.2) / 4.0).abs() < 1e-12, "{}", tags.error());
        tags.extend([(1.0, true), (0.0, false)]);
        assert_eq!((tags.count(), tags.bins[0].count, tags.bins[BINS - 1].count), (6, 1, 3));
    }

    #[test]
    fn another_number_of_bins_is_refused() {
        let mut json = serde_json::to_value(Reliability::default()).unwrap();
        assert_eq!(serde_json::from_value::<Reliability>(json.clone()).unwrap(), Reliability::default());
        let bins = json["bins"].as_array_mut().unwrap();
        bins.pop();
        let error = serde_json::from_value::<Reliability>(json).unwrap_err();
        assert!(error.to_string().contains("expected an array of length 15"), "{error}");
    }
}
