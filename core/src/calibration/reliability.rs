//! Reliability of scores: how often the tags with a score are correct.

use std::f64::consts::FRAC_2_PI;

use serde::{Deserialize, Serialize};

use super::outcome::Judged;

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
///
/// Tags of one sentence are right or wrong together, so what chance does follows from sentences, not from single tags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The bins, by ascending scores.
    pub bins: [Bin; BINS],
    /// What the variance between sentences follows from. Absent in files that were made before it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    squares: Option<[Squares; BINS]>,
}

/// Sums over the sentences that have tags in a bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Squares {
    /// Of the square of a sentence's residual: the sum of its scores less the number of its correct tags.
    residuals: f64,
    /// Of the square of its number of tags.
    counts: f64,
}

impl Default for Reliability {
    fn default() -> Self {
        Self { bins: [Bin::default(); BINS], squares: Some([Squares::default(); BINS]) }
    }
}

impl Reliability {
    /// Counts one sentence: the scores of its tags, of its spans, or its own score.
    pub fn add(&mut self, sentence: impl IntoIterator<Item = Judged>) {
        let mut own = [Bin::default(); BINS];
        for (score, is_correct) in sentence {
            let bin = &mut own[((score * BINS as f64) as usize).min(BINS - 1)];
            bin.count += 1;
            bin.correct += u64::from(is_correct);
            bin.score += score;
        }
        for (sum, bin) in self.bins.iter_mut().zip(&own) {
            sum.count += bin.count;
            sum.correct += bin.correct;
            sum.score += bin.score;
        }
        for (sum, bin) in self.squares.iter_mut().flatten().zip(&own) {
            sum.residuals += bin.residual().powi(2);
            sum.counts += (bin.count as f64).powi(2);
        }
    }

    /// Number of tags.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// The expected calibration error (Naeini et al. 2015), from 0 to 1: the mean distance between mean score and share of
    /// correct tags of the bins, weighted by their counts. 0 without tags.
    pub fn error(&self) -> f64 {
        let distances: f64 = self.bins.iter().map(|bin| bin.residual().abs()).sum();
        distances / self.count().max(1) as f64
    }

    /// The expected calibration error that calibrated scores show, on average, on as many sentences: the mean distance from 0 of a
    /// normal variable with the variance that is observed between sentences. `None` if the variance is not known.
    pub fn error_by_chance(&self) -> Option<f64> {
        let distances: f64 = self.squares?.iter().map(|sum| (sum.residuals * FRAC_2_PI).sqrt()).sum();
        Some(distances / self.count().max(1) as f64)
    }

    /// The root mean squared distance between mean score and share of correct tags after subtracting sampling noise (after Kumar,
    /// Liang and Ma 2019): the squared distance of a bin is estimated from pairs of different sentences, whose residuals are
    /// independent. Bins with one sentence are left out. 0 if the estimate is negative, `None` if the variance between sentences
    /// is not known.
    pub fn debiased_error(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for (bin, squares) in self.bins.iter().zip(self.squares?) {
            let tags = bin.count as f64;
            let pairs = tags * tags - squares.counts;
            if pairs > 0.0 {
                sum += tags * (bin.residual().powi(2) - squares.residuals) / pairs;
                count += tags;
            }
        }
        Some(if sum > 0.0 { (sum / count).sqrt() } else { 0.0 })
    }
}

impl Bin {
    /// The sum of the scores less the number of correct tags.
    fn residual(&self) -> f64 {
        self.score - self.correct as f64
    }
}

impl<S: IntoIterator<Item = Judged>> Extend<S> for Reliability {
    fn extend<I: IntoIterator<Item = S>>(&mut self, sentences: I) {
        sentences.into_iter().for_each(|sentence| self.add(sentence));
    }
}

impl<S: IntoIterator<Item = Judged>> FromIterator<S> for Reliability {
    fn from_iter<I: IntoIterator<Item = S>>(sentences: I) -> Self {
        let mut reliability = Self::default();
        reliability.extend(sentences);
        reliability
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_error_is_the_weighted_distance_of_the_bins() {
        let mut tags = Reliability::default();
        assert_eq!((tags.count(), tags.error()), (0, 0.0));
        assert_eq!((tags.error_by_chance(), tags.debiased_error()), (Some(0.0), Some(0.0)));
        // One bin: mean score 0.95, half correct. Another: score 0.1, none correct.
        tags.add([(0.94, true), (0.96, false), (0.1, false), (0.1, false)]);
        assert!((tags.error() - (0.9 + 0.2) / 4.0).abs() < 1e-12, "{}", tags.error());
        tags.add([(1.0, true), (0.0, false)]);
        assert_eq!((tags.count(), tags.bins[0].count, tags.bins[BINS - 1].count), (6, 1, 3));
    }

    #[test]
    fn the_estimates_are_those_of_their_definition() {
        // Three tags of one sentence differ from what is correct by 0.3 together.
        let tags: Reliability =
            [vec![(0.1, false), (0.1, false), (0.1, false)], vec![]].into_iter().collect();
        assert!((tags.error_by_chance().unwrap() - 0.3 * FRAC_2_PI.sqrt() / 3.0).abs() < 1e-12);
        assert_eq!(tags.debiased_error(), Some(0.0), "one sentence shows nothing");
        let tags: Reliability = [[(0.4, false)], [(0.4, false)], [(0.4, true)]].into_iter().collect();
        // 0.2^2 - (0.4^2 + 0.4^2 + 0.6^2) is negative.
        assert_eq!(tags.debiased_error(), Some(0.0));
        // Each pair of sentences has the product 0.4 * 0.4, of one tag each.
        let tags: Reliability = [[(0.4, false)], [(0.4, false)]].into_iter().collect();
        assert!((tags.debiased_error().unwrap() - 0.4).abs() < 1e-12);
        // The second bin has one sentence, which shows nothing.
        let tags: Reliability = [vec![(0.4, false), (0.9, false)], vec![(0.4, false)]].into_iter().collect();
        assert!((tags.debiased_error().unwrap() - 0.4).abs() < 1e-12);
    }

    /// Sentences of four tags with one score, which are right or wrong together; right with the score less `excess`.
    fn sentences(count: usize, seed: u64, excess: f64) -> Vec<[Judged; 4]> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sentence = |_| {
            let score = 0.2 + 0.8 * random.random::<f64>();
            [(score, random.random::<f64>() < score - excess); 4]
        };
        (0..count).map(sentence).collect()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn calibrated_scores_have_the_error_by_chance_and_tags_are_not_taken_as_independent() {
        let of_sentences = |seed| -> Reliability { sentences(300, seed, 0.0).into_iter().collect() };
        let of_tags = |seed| -> Reliability {
            sentences(300, seed, 0.0).into_iter().flatten().map(|tag| [tag]).collect()
        };
        let shown = mean((0..300).map(|seed| of_sentences(seed).error()));
        let expected = mean((0..300).map(|seed| of_sentences(seed).error_by_chance().unwrap()));
        let of_tags = mean((0..300).map(|seed| of_tags(seed).error_by_chance().unwrap()));
        assert!((shown / expected - 1.0).abs() < 0.05, "{shown} {expected}");
        assert!((of_tags / expected - 0.5).abs() < 0.02, "four tags a sentence: {of_tags} {expected}");
    }

    #[test]
    fn the_debiased_error_is_near_the_one_of_endless_sentences() {
        let measure = |count, excess| {
            let of = |seed| sentences(count, seed, excess).into_iter().collect::<Reliability>();
            let plain = mean((0..200).map(|seed| of(seed).error()));
            (plain, mean((0..200).map(|seed| of(seed).debiased_error().unwrap())))
        };
        let (plain, debiased) = measure(400, 0.0);
        assert!(plain > 0.04 && debiased < plain / 2.0, "calibrated: {plain} {debiased}");
        let (_, debiased) = measure(400, 0.1);
        assert!((debiased - 0.1).abs() < 0.015, "{debiased}");
        // Also on few sentences, of which each counts much.
        let (plain, debiased) = measure(60, 0.3);
        assert!((debiased - 0.3).abs() < 0.02 && plain > debiased, "{plain} {debiased}");
    }

    #[test]
    fn files_from_before_the_variance_was_counted_are_read() {
        let new: Reliability = sentences(20, 1, 0.0).into_iter().collect();
        let mut json = serde_json::to_value(&new).unwrap();
        assert_eq!(serde_json::from_value::<Reliability>(json.clone()).unwrap(), new);
        json.as_object_mut().unwrap().remove("squares").unwrap();
        let old: Reliability = serde_json::from_value(json).unwrap();
        assert_eq!((old.error_by_chance(), old.debiased_error()), (None, None));
        assert_eq!(old.error(), new.error());
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
