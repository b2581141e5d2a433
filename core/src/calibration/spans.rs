//! Thresholds with a guarantee per span: among the spans that are given out, the share of wrong ones is at most `alpha`, with
//! confidence `1 - delta`.
//!
//! The spans of a sentence are not independent: a test that counts all of them as trials claims too much. Sentences are
//! independent, so the test counts at most one span of each. Every span must be equally likely to be that one, or spans of
//! sentences with few spans would count more. So a slot from 1 to `most` is drawn for each sentence, and its span with that
//! rank is counted, if it has so many (rejection in sampling proportional to size, Lahiri 1951). The spans that are counted
//! are independent draws from all spans, and the tests of [`super::selection`] hold for them.

use std::num::NonZeroUsize;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::selection::{Guarantee, SelectionTable, Threshold};

/// The seed of the slots. It is fixed, so that a calibration can be repeated.
const SEED: u64 = 0;
/// The share of the spans that may have a rank after [`SpanTable::most`]. More slots count fewer spans.
const SURPLUS: f64 = 0.05;

/// Counts of spans from which a threshold follows for any error rate and confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanTable {
    /// Most spans of a sentence that are given out: those with the highest scores.
    pub most: NonZeroUsize,
    /// Right and wrong spans by score.
    pub table: SelectionTable,
}

impl SpanTable {
    /// The table of two disjoint sets of sentences, each with its spans.
    pub fn new(choose_by: &[Vec<Outcome>], test_on: &[Vec<Outcome>]) -> Self {
        let most = most(choose_by);
        let all: Vec<Outcome> = choose_by.iter().flat_map(|spans| best(spans, most)).collect();
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let drawn = test_on.iter().filter_map(|spans| {
            let slot = random.random_range(0..most.get() as u64) as usize;
            best(spans, most).get(slot).copied()
        });
        let drawn: Vec<Outcome> = drawn.collect();
        Self { most, table: SelectionTable::new(&all, &drawn) }
    }

    /// The laxest threshold that gives the guarantee; `None` if the counts prove it for none.
    pub fn threshold(&self, guarantee: Guarantee) -> Option<Threshold> {
        self.table.threshold(guarantee)
    }
}

/// The indices of the `most` highest of `scores`, the first of equal ones first.
pub fn highest(scores: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(most);
    order
}

/// The spans of a sentence that may be given out.
fn best(spans: &[Outcome], most: NonZeroUsize) -> Vec<Outcome> {
    let scores: Vec<f64> = spans.iter().map(|span| span.score).collect();
    highest(&scores, most.get()).into_iter().map(|at| spans[at]).collect()
}

/// The least number of spans, at least one, so that few spans of `sentences` have a higher rank in their sentence.
fn most(sentences: &[Vec<Outcome>]) -> NonZeroUsize {
    let count: usize = sentences.iter().map(Vec::len).sum();
    let surplus = |most: usize| sentences.iter().map(|spans| spans.len().saturating_sub(most)).sum::<usize>();
    let longest = sentences.iter().map(Vec::len).max().unwrap_or(0);
    let most = (1..longest).find(|most| surplus(*most) as f64 <= SURPLUS * count as f64).unwrap_or(longest);
    NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::super::selection::Unit;
    use super::*;

    const TENTH: Guarantee = Guarantee { of: Unit::Spans, max_error: 0.1, confidence: 0.9 };

    /// Sentences of one to four spans that have one score and are right or wrong together; those of long sentences are wrong
    /// more often: with probability `(1 - score^2) * spans / 4`.
    fn sentences(count: usize, random: &mut ChaCha8Rng) -> Vec<Vec<Outcome>> {
        let sentence = |_| {
            let (score, spans) = (random.random::<f64>().sqrt(), random.random_range(1..=4_u64));
            let is_wrong = random.random::<f64>() < (1.0 - score * score) * spans as f64 / 4.0;
            vec![Outcome { score, is_wrong }; spans as usize]
        };
        (0..count).map(sentence).collect()
    }

    /// The share of wrong spans among those with scores over `t`: the density of scores is 2s, so the mean of `1 - s^2` is
    /// `1 - (1 + t^2) / 2`; a span is in a sentence of `n` spans with probability `n / 10`, so the mean of `n / 4` is 3 / 4.
    fn share_of_wrong(t: f64) -> f64 {
        0.75 * (1.0 - f64::midpoint(1.0, t * t))
    }

    /// Violations, thresholds found and their mean share in 1,000 draws.
    fn measure(
        threshold: impl Fn(&[Vec<Outcome>], &[Vec<Outcome>]) -> Option<Threshold>,
    ) -> (usize, usize, f64) {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut violations, mut found, mut share) = (0, 0, 0.0);
        for _ in 0..1000 {
            let [one, other] = [400, 400].map(|count| sentences(count, &mut random));
            let Some(threshold) = threshold(&one, &other) else { continue };
            found += 1;
            share += threshold.share;
            violations += usize::from(share_of_wrong(threshold.score) > TENTH.max_error);
        }
        (violations, found, share / found as f64)
    }

    #[test]
    fn the_share_of_wrong_spans_exceeds_the_limit_in_at_most_a_tenth_of_the_draws() {
        let (violations, found, share) = measure(|one, other| SpanTable::new(one, other).threshold(TENTH));
        assert!(violations <= 100 + 28, "{violations}: more than three standard deviations over 100");
        assert!(found > 100 && share > 0.1, "{found} {share}");
    }

    #[test]
    fn a_test_that_takes_all_spans_as_independent_exceeds_it_more_often() {
        let (violations, ..) =
            measure(|one, other| SelectionTable::new(&one.concat(), &other.concat()).threshold(TENTH));
        assert!(violations > 128, "{violations}");
    }

    #[test]
    fn the_spans_with_the_highest_scores_are_given_out() {
        assert_eq!(highest(&[0.5, 0.9, 0.5, 0.7], 3), [1, 3, 0]);
        assert_eq!(highest(&[0.5], 3), [0]);
        assert!(highest(&[], 3).is_empty());
    }

    #[test]
    fn few_spans_have_a_rank_after_the_last() {
        let sentence = |spans: usize| vec![Outcome { score: 0.5, is_wrong: false }; spans];
        assert_eq!(most(&[]).get(), 1);
        assert_eq!(most(&[sentence(0), sentence(0)]).get(), 1);
        assert_eq!(most(&[sentence(1), sentence(3)]).get(), 3);
        // 3 of 101 spans have a rank after 2.
        let many: Vec<_> = [1; 48].into_iter().chain([2; 24]).chain([5]).map(sentence).collect();
        assert_eq!(most(&many).get(), 2);
    }

    #[test]
    fn every_span_is_drawn_equally_often() {
        // Spans of short sentences are wrong, those of long ones are right.
        let sentence = |at: usize| match at % 2 {
            0 => vec![Outcome { score: 0.5, is_wrong: true }; 1],
            _ => vec![Outcome { score: 0.5, is_wrong: false }; 4],
        };
        let sentences: Vec<_> = (0..4000).map(sentence).collect();
        let row = SpanTable::new(&sentences, &sentences).table.rows()[0].tested_on;
        // A fifth of all spans are wrong, though half of the sentences are.
        let share = row.wrong as f64 / row.count as f64;
        assert!((share - 0.2).abs() < 0.02, "{share}");
        assert!(
            (2300..2700).contains(&row.count),
            "{row:?}: all of the long sentences, a quarter of the short ones"
        );
    }
}
