//! Scores of tags: the one definition that calibration in `hl-train` and tagging in `hl-run` share (docs/scores.md).
//!
//! What the model writes for a word has the probability of its ids and of the id after them, which shows that it ends. With [`TargetGrammar::places`] this holds for targets; a token classifier writes one id per word.
//!
//! [`TargetGrammar::places`]: crate::text::target::TargetGrammar::places

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Numbers that are stored or shown are multiples of its reciprocal: the same after any number of conversions to text, and
/// without digits that are noise of float32.
pub const RESOLUTION: f64 = 1e6;

/// The nearest multiple of the [resolution](RESOLUTION).
pub fn rounded(number: f64) -> f64 {
    (number * RESOLUTION).round() / RESOLUTION
}

/// An id as the model chose it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdScore {
    /// Natural logarithm of the id's probability after the ids before it.
    pub log_probability: f32,
    /// By how much it exceeds the log-probability of the best other id that would make another tag; infinite if no other
    /// id may stand there.
    pub margin: f32,
}

impl IdScore {
    /// The score of the id with the highest logit, by the softmax over it and `others`, the logits of all other ids, which are
    /// divided by `temperature`. Each of the others would make another tag.
    pub fn of_logits(logit: f32, others: impl Iterator<Item = f32> + Clone, temperature: f32) -> Self {
        let others = others.map(|other| (other - logit) / temperature);
        let second = others.clone().fold(f32::NEG_INFINITY, f32::max);
        Self { log_probability: -others.map(f32::exp).sum::<f32>().ln_1p(), margin: -second }
    }
}

/// The score of a tag, a span or a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Natural logarithm of the probability.
    pub log_probability: f64,
    /// The least margin of its ids; infinite if no other id may stand at any of them.
    pub margin: f64,
}

impl Score {
    /// The score of a tag that the model did not write: probability 0, margin 0.
    pub const NOT_WRITTEN: Self = Self { log_probability: f64::NEG_INFINITY, margin: 0.0 };

    /// The probability, from 0 to 1.
    pub fn probability(self) -> f64 {
        self.log_probability.exp().min(1.0)
    }

    /// The score of several parts: the product of their probabilities and their least margin.
    pub fn product(parts: impl IntoIterator<Item = Self>) -> Self {
        let all = Self { log_probability: 0.0, margin: f64::INFINITY };
        parts.into_iter().fold(all, |all, part| Self {
            log_probability: all.log_probability + part.log_probability,
            margin: all.margin.min(part.margin),
        })
    }

    /// The score of consecutive ids.
    pub fn of(ids: &[IdScore]) -> Self {
        Self::product(
            ids.iter()
                .map(|id| Self { log_probability: id.log_probability.into(), margin: id.margin.into() }),
        )
    }
}

/// The score of what was written for each word. `places` has its ids in `ids`, or `None` if nothing was written. The id after
/// a place belongs to it, if there is one.
pub fn word_scores(places: &[Option<Range<usize>>], ids: &[IdScore]) -> Vec<Score> {
    let score = |place: &Option<Range<usize>>| {
        let place = place.as_ref()?;
        Some(Score::of(ids.get(place.start..ids.len().min(place.end + 1))?))
    };
    places.iter().map(|place| score(place).unwrap_or(Score::NOT_WRITTEN)).collect()
}

/// The score of each BIO tag of a target, from those of its words. An `I` has the label of the word that begins its span, so
/// it is right only if all words of the span up to it are: it has their product.
pub fn tag_scores<T: AsRef<str>>(bio: &[T], words: &[Score]) -> Vec<Score> {
    let mut scores: Vec<Score> = Vec::with_capacity(words.len());
    for (tag, word) in bio.iter().zip(words) {
        let before = scores.last().filter(|_| tag.as_ref().starts_with("I-")).copied();
        scores.push(Score::product(before.into_iter().chain([*word])));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_scored_by_the_softmax_also_where_its_logits_are_large() {
        for shift in [0.0_f32, 1e5] {
            let [second, logit, third] = [1.0_f32, 3.0, 2.0].map(|logit| logit * 2.0 + shift);
            let score = IdScore::of_logits(logit, [second, third].into_iter(), 2.0);
            let expected = 3.0_f32.exp() / [1.0_f32, 2.0, 3.0].map(f32::exp).iter().sum::<f32>();
            assert!(
                (score.log_probability.exp() - expected).abs() < 1e-6 && (score.margin - 1.0).abs() < 1e-6
            );
        }
        let alone = IdScore::of_logits(3.0, std::iter::empty(), 1.0);
        assert_eq!(alone, IdScore { log_probability: 0.0, margin: f32::INFINITY });
        let sure = IdScore::of_logits(20.0, [0.0].into_iter(), 1.0);
        assert!(sure.log_probability < 0.0, "2e-9 is less than the distance of 1 to the next number");
    }

    #[test]
    fn a_word_is_scored_by_its_ids_and_the_id_after_them() {
        let ids = [0.5_f32, 0.25, 0.5, 0.125].map(f32::ln);
        let ids = [f32::INFINITY, 3.0, 2.0, f32::INFINITY].into_iter().zip(ids);
        let ids: Vec<IdScore> =
            ids.map(|(margin, log_probability)| IdScore { log_probability, margin }).collect();
        let scores = word_scores(&[Some(0..1), None, Some(1..3), Some(3..4), Some(9..12)], &ids);
        let found: Vec<(f64, f64)> = scores.iter().map(|score| (score.probability(), score.margin)).collect();
        let expected = [(0.125, 3.0), (0.0, 0.0), (1.0 / 64.0, 2.0), (0.125, f64::INFINITY), (0.0, 0.0)];
        for ((probability, margin), (p, m)) in found.into_iter().zip(expected) {
            assert!((probability - p).abs() < 1e-6 && margin == m, "{probability} {margin}, {p} {m}");
        }
        assert_eq!(Score::of(&[]).probability(), 1.0);
    }

    #[test]
    fn a_tag_that_continues_a_span_needs_all_words_before_it() {
        let word = |(probability, margin): (f64, f64)| Score { log_probability: probability.ln(), margin };
        let words = [(0.5, 3.0), (0.5, 2.0), (0.5, 4.0), (0.5, 1.0)].map(word);
        let scores = tag_scores(&["B-a", "I-a", "I-a", "O"], &words);
        let found: Vec<(f64, f64)> =
            scores.iter().map(|score| ((score.probability() * 64.0).round(), score.margin)).collect();
        assert_eq!(found, [(32.0, 3.0), (16.0, 2.0), (8.0, 2.0), (32.0, 1.0)]);
    }
}
