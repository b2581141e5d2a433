//! Thresholds with a guarantee: among the sentences whose score reaches the threshold, the rate of sentences with a wrong
//! tag is at most `alpha`, with confidence `1 - delta`. The same holds for spans that are drawn independently
//! ([`super::spans`]).
//!
//! Split fixed sequence testing (Angelopoulos et al. 2021, "Learn then Test"): one half of the calibration sentences gives
//! the thresholds and the one to begin with, the other half tests them from strict to lax with the exact binomial
//! distribution. The first threshold that fails ends the sequence, so all tests together fail wrongly with probability at
//! most `delta`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::binomial::{ln_cdf, upper_bound};
use super::outcome::Outcome;
use crate::text::scores::RESOLUTION;

/// Most thresholds of a table.
const THRESHOLDS: usize = 100;

/// Sentences or spans whose score reaches a threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Their number.
    #[serde(alias = "sentences")]
    pub count: u64,
    /// Number of wrong ones.
    pub wrong: u64,
}

/// A threshold on the score of a sentence, with the sentences of both halves that reach it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The least score that is answered, from 0 to 1.
    pub threshold: f64,
    /// Sentences of the half that the sequence of tests was chosen by.
    pub chosen_by: Answered,
    /// Sentences of the half that the thresholds are tested on.
    pub tested_on: Answered,
}

/// Counts from which a threshold follows for any error rate and confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Counts", into = "Counts")]
pub struct SelectionTable(Counts);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    /// Number of sentences or spans of the half for tests.
    #[serde(alias = "sentences")]
    count: u64,
    /// From strict to lax.
    rows: Vec<Row>,
}

/// A table whose rows contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("row {} of the table of scores contradicts the row before it or itself", .0 + 1)]
pub struct TableError(usize);

/// What a guarantee counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Sentences; one is wrong if any of its tags is.
    #[default]
    Sentences,
    /// Spans; one is wrong if gold has no span of the same words with the same label.
    Spans,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sentences => "sentences",
            Self::Spans => "spans",
        })
    }
}

/// A guarantee that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guarantee {
    /// What is counted.
    pub of: Unit,
    /// Highest share of wrong sentences among the answered, or of wrong spans among those given out, between 0 and 1.
    pub max_error: f64,
    /// Probability that the guarantee holds, over the choice of the calibration sentences, between 0 and 1.
    pub confidence: f64,
}

impl Guarantee {
    /// The guarantee for sentences or, without a limit for these, for spans.
    pub fn of_limits(sentences: Option<f64>, spans: Option<f64>, confidence: f64) -> Option<Self> {
        let limits = [(Unit::Sentences, sentences), (Unit::Spans, spans)];
        limits.into_iter().find_map(|(of, limit)| Some(Self { of, max_error: limit?, confidence }))
    }

    /// Whether both numbers are between 0 and 1. Nothing is claimed for others.
    pub fn is_possible(&self) -> bool {
        [self.max_error, self.confidence].iter().all(|number| *number > 0.0 && *number < 1.0)
    }
}

/// A threshold that gives a [`Guarantee`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Whether the score is that of sentences or of spans.
    pub of: Unit,
    /// The least score that is answered.
    pub score: f64,
    /// Share of the test half that reaches it.
    pub share: f64,
    /// The exact upper bound of the share of wrong ones among the answered.
    pub bound: f64,
}

impl TryFrom<Counts> for SelectionTable {
    type Error = TableError;

    fn try_from(counts: Counts) -> Result<Self, TableError> {
        let mut before =
            Row { threshold: f64::INFINITY, chosen_by: Answered::default(), tested_on: Answered::default() };
        for (at, row) in counts.rows.iter().enumerate() {
            let grows = |before: Answered, now: Answered| {
                now.wrong <= now.count && before.count <= now.count && before.wrong <= now.wrong
            };
            let holds = row.threshold < before.threshold
                && (0.0..=1.0).contains(&row.threshold)
                && grows(before.chosen_by, row.chosen_by)
                && grows(before.tested_on, row.tested_on)
                && row.tested_on.count <= counts.count;
            if !holds {
                return Err(TableError(at));
            }
            before = *row;
        }
        Ok(Self(counts))
    }
}

impl From<SelectionTable> for Counts {
    fn from(table: SelectionTable) -> Self {
        table.0
    }
}

impl SelectionTable {
    /// The table of two disjoint sets of sentences: thresholds are scores of `choose_by`, about equally many sentences
    /// apart.
    pub fn new(choose_by: &[Outcome], test_on: &[Outcome]) -> Self {
        let mut scores: Vec<f64> = choose_by.iter().map(|sentence| floor(sentence.score)).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let step = scores.len().div_ceil(THRESHOLDS).max(1);
        let mut thresholds: Vec<f64> = scores.iter().copied().skip(step - 1).step_by(step).collect();
        thresholds.extend(scores.last());
        thresholds.dedup();
        let row = |threshold| Row {
            threshold,
            chosen_by: answered(choose_by, threshold),
            tested_on: answered(test_on, threshold),
        };
        let rows = thresholds.into_iter().map(row).collect();
        Self(Counts { count: test_on.len() as u64, rows })
    }

    /// The rows, from strict to lax.
    pub fn rows(&self) -> &[Row] {
        &self.0.rows
    }

    /// Number of sentences or spans that the thresholds are tested on.
    pub fn count(&self) -> u64 {
        self.0.count
    }

    /// The laxest threshold that gives the guarantee; `None` if the counts prove it for none, or a number is not between 0
    /// and 1.
    pub fn threshold(&self, guarantee: Guarantee) -> Option<Threshold> {
        if !guarantee.is_possible() {
            return None;
        }
        let Guarantee { of, max_error, confidence } = guarantee;
        let delta = 1.0 - confidence;
        let ln_p = |answered: Answered| ln_cdf(answered.wrong, answered.count, max_error);
        // No answer gives no evidence.
        let evidence = |answered: Answered| if answered.count == 0 { 0.0 } else { ln_p(answered) };
        let start = (0..self.rows().len()).min_by(|&a, &b| {
            let [a, b] = [a, b].map(|at| evidence(self.rows()[at].chosen_by));
            a.total_cmp(&b)
        })?;
        let passing = self.rows()[start..].iter().take_while(|row| evidence(row.tested_on) <= delta.ln());
        passing.last().map(|row| Threshold {
            of,
            score: row.threshold,
            share: row.tested_on.count as f64 / self.0.count.max(1) as f64,
            bound: upper_bound(row.tested_on.wrong, row.tested_on.count, delta),
        })
    }
}

/// The next multiple of the resolution below.
fn floor(score: f64) -> f64 {
    (score.clamp(0.0, 1.0) * RESOLUTION).floor() / RESOLUTION
}

fn answered(sentences: &[Outcome], threshold: f64) -> Answered {
    let reach = sentences.iter().filter(|sentence| sentence.score >= threshold);
    let wrong = reach.clone().filter(|sentence| sentence.is_wrong).count();
    Answered { count: reach.count() as u64, wrong: wrong as u64 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const TENTH: Guarantee = Guarantee { of: Unit::Sentences, max_error: 0.1, confidence: 0.9 };

    /// Sentences whose scores are overconfident: one with score `s` is wrong with probability `1 - s^2`.
    fn sentences(count: usize, random: &mut ChaCha8Rng) -> Vec<Outcome> {
        let sentence = |_| {
            let score: f64 = random.random::<f64>().sqrt();
            Outcome { score, is_wrong: random.random::<f64>() > score * score }
        };
        (0..count).map(sentence).collect()
    }

    #[test]
    fn the_error_rate_exceeds_the_limit_in_at_most_a_tenth_of_the_draws() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        // The density of scores is 2s, so the rate of wrong sentences with scores over t is 1 - (1 + t^2) / 2.
        let rate = |t: f64| 1.0 - f64::midpoint(1.0, t * t);
        let (mut violations, mut found, mut share) = (0, 0, 0.0);
        for _ in 0..1000 {
            let [one, other] = [400, 400].map(|count| sentences(count, &mut random));
            let Some(threshold) = SelectionTable::new(&one, &other).threshold(TENTH) else { continue };
            found += 1;
            share += threshold.share;
            violations += usize::from(rate(threshold.score) > TENTH.max_error);
            assert!(threshold.bound <= TENTH.max_error);
        }
        assert!(violations <= 100 + 28, "{violations}: more than three standard deviations over 100");
        // The tenth of the sentences with scores over 0.95 has a rate of 0.05: evidence is scarce, but not missing.
        assert!(found > 100 && share / f64::from(found) > 0.05, "{found} {share}");
    }

    #[test]
    fn no_threshold_is_given_without_evidence() {
        let sentence = |is_wrong| Outcome { score: 0.9, is_wrong };
        let right = |count| vec![sentence(false); count];
        // 0.9^22 = 0.098: 22 right sentences prove a rate of at most 0.1 with confidence 0.9, 21 do not.
        assert!(SelectionTable::new(&right(50), &right(22)).threshold(TENTH).is_some());
        assert!(SelectionTable::new(&right(50), &right(21)).threshold(TENTH).is_none());
        assert!(SelectionTable::new(&right(50), &vec![sentence(true); 50]).threshold(TENTH).is_none());
        assert!(SelectionTable::new(&[], &right(50)).threshold(TENTH).is_none());
        assert!(SelectionTable::new(&right(50), &[]).threshold(TENTH).is_none());
    }

    #[test]
    fn numbers_that_are_not_between_0_and_1_give_no_threshold() {
        let right = vec![Outcome { score: 0.9, is_wrong: false }; 500];
        let table = SelectionTable::new(&right, &right);
        assert!(table.threshold(TENTH).is_some());
        for odd in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(table.threshold(Guarantee { max_error: odd, ..TENTH }), None, "{odd}");
            assert_eq!(table.threshold(Guarantee { confidence: odd, ..TENTH }), None, "{odd}");
        }
    }

    #[test]
    fn a_table_is_read_back_and_one_that_contradicts_itself_is_refused() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let table = SelectionTable::new(&sentences(333, &mut random), &sentences(444, &mut random));
        assert!(table.rows().len() > 80 && table.rows().len() <= THRESHOLDS + 1);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<SelectionTable>(&text).unwrap(), table);
        let before = text.replace("\"count\":", "\"sentences\":");
        assert_ne!(before, text);
        assert_eq!(
            serde_json::from_str::<SelectionTable>(&before).unwrap(),
            table,
            "as it was written before"
        );
        for (from, to) in [("\"count\":444", "\"count\":4"), ("\"threshold\":0.9", "\"threshold\":1.9")] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text);
            let error = serde_json::from_str::<SelectionTable>(&damaged).unwrap_err();
            assert!(error.to_string().contains("contradicts"), "{error}");
        }
    }
}
