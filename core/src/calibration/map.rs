//! Beta calibration (Kull, Silva Filho and Flach 2017): a monotone map from scores to calibrated scores, fitted on tags or
//! sentences that the model wrote.
//!
//! The map is a logistic regression on two logarithms: `logit(p) = a ln(s) - b ln(1 - s) + c` with `a, b >= 0`. It has the
//! identity among its members (`a = b = 1`, `c = 0`).

use serde::{Deserialize, Serialize};

use super::outcome::Judged;
use super::reliability::Reliability;
use crate::text::scores::rounded;

/// Scores nearer to 0 or 1 are mapped as this one. The scores of `hl-run` have six decimals.
const LEAST: f64 = 1e-6;
/// The number of parts of the data that each are left out once to see whether a map helps.
const FOLDS: usize = 5;
/// Steps of Newton's method. It converges in about ten.
const STEPS: usize = 50;
/// A step that lowers the loss by less ends the fit.
const PRECISION: f64 = 1e-12;
/// Added to the curvature, so that features that are equal everywhere can be solved for.
const RIDGE: f64 = 1e-9;

/// A monotone map from scores to calibrated scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Coefficients", into = "Coefficients")]
pub struct ScoreMap(Coefficients);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Coefficients {
    a: f64,
    b: f64,
    c: f64,
}

/// Coefficients of no monotone map.
#[derive(Debug, thiserror::Error)]
#[error(
    "invalid score map (a = {a}, b = {b}, c = {c}): expected finite numbers with a >= 0, b >= 0 and a + b > 0"
)]
pub struct MapError {
    a: f64,
    b: f64,
    c: f64,
}

impl TryFrom<Coefficients> for ScoreMap {
    type Error = MapError;

    fn try_from(coefficients: Coefficients) -> Result<Self, MapError> {
        let Coefficients { a, b, c } = coefficients;
        let is_map = [a, b, c].iter().all(|number| number.is_finite()) && a >= 0.0 && b >= 0.0 && a + b > 0.0;
        if is_map { Ok(Self(coefficients)) } else { Err(MapError { a, b, c }) }
    }
}

impl From<ScoreMap> for Coefficients {
    fn from(map: ScoreMap) -> Self {
        map.0
    }
}

impl ScoreMap {
    /// The map that is fitted on all of `groups`, if it helps: if maps that are each fitted on four fifths of the groups lower
    /// the expected calibration error of the other fifths. A group is what belongs to one sentence.
    pub fn fit(groups: &[Vec<Judged>]) -> Option<Self> {
        let (mut before, mut after) = (Reliability::default(), Reliability::default());
        for fold in 0..FOLDS {
            let part = |is_left_out: bool| {
                let groups = groups.iter().enumerate();
                groups.filter(move |(at, _)| (at % FOLDS == fold) == is_left_out).map(|(_, group)| group)
            };
            let map = Self::of(&part(false).flatten().copied().collect::<Vec<_>>())?;
            for group in part(true) {
                before.add(group.iter().copied());
                after.add(group.iter().map(|(score, is_correct)| (map.apply(*score), *is_correct)));
            }
        }
        let helps = after.error() < before.error();
        helps.then(|| Self::of(&groups.iter().flatten().copied().collect::<Vec<_>>())).flatten()
    }

    /// The map with the least log loss on the scores of `data` over 0; `None` if it does not depend on the score.
    fn of(data: &[Judged]) -> Option<Self> {
        let data: Vec<Judged> = data.iter().copied().filter(|(score, _)| *score > 0.0).collect();
        // The problem is convex: if a coefficient must not be negative, the best map has it or sets it to 0.
        let choices =
            [[true, true], [true, false], [false, true]].map(|used| Regression::new(&data, used).fit());
        let [all, ..] = &choices;
        let feasible = |(_, map): &&(f64, Coefficients)| map.a >= 0.0 && map.b >= 0.0;
        let best = match feasible(&all) {
            true => Some(all),
            false => choices.iter().filter(feasible).min_by(|a, b| a.0.total_cmp(&b.0)),
        };
        let Coefficients { a, b, c } = best?.1;
        Self::try_from(Coefficients { a: rounded(a), b: rounded(b), c: rounded(c) }).ok()
    }

    /// The calibrated score of `score`. Scores keep their order; 0, the score of what the model did not write, stays 0.
    pub fn apply(&self, score: f64) -> f64 {
        let Coefficients { a, b, c } = self.0;
        let [of_score, of_rest] = features(score);
        if score > 0.0 { sigmoid(a * of_score + b * of_rest + c) } else { 0.0 }
    }
}

/// The maps of a task's scores. Without one, scores stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreMaps {
    /// Of the scores of tags and spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<ScoreMap>,
    /// Of the scores of sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<ScoreMap>,
}

impl ScoreMaps {
    /// Whether there is no map.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The calibrated score of a tag or a span.
    pub fn of_tag(&self, score: f64) -> f64 {
        self.tag.map_or(score, |map| map.apply(score))
    }

    /// The calibrated score of a sentence.
    pub fn of_sentence(&self, score: f64) -> f64 {
        self.sentence.map_or(score, |map| map.apply(score))
    }
}

/// `ln(s)` and `-ln(1 - s)`.
fn features(score: f64) -> [f64; 2] {
    let score = score.clamp(LEAST, 1.0 - LEAST);
    [score.ln(), -(-score).ln_1p()]
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Logistic regression by Newton's method.
struct Regression {
    /// The features of each score, without those that are not used, and 1.
    rows: Vec<[f64; 3]>,
    targets: Vec<f64>,
}

impl Regression {
    /// The regression on the `used` features. Targets are a little within 0 and 1 (Platt 1999), so that the best coefficients
    /// are finite if everything is correct.
    fn new(data: &[Judged], used: [bool; 2]) -> Self {
        let correct = data.iter().filter(|(_, is_correct)| *is_correct).count() as f64;
        let wrong = data.len() as f64 - correct;
        let target =
            |is_correct| if is_correct { (correct + 1.0) / (correct + 2.0) } else { 1.0 / (wrong + 2.0) };
        let row = |(score, _): &Judged| {
            let [a, b] = features(*score);
            let keep = |used: bool, feature: f64| if used { feature } else { 0.0 };
            [keep(used[0], a), keep(used[1], b), 1.0]
        };
        let targets = data.iter().map(|(_, is_correct)| target(*is_correct)).collect();
        Self { rows: data.iter().map(row).collect(), targets }
    }

    /// The log loss and its coefficients where it is least.
    fn fit(&self) -> (f64, Coefficients) {
        let mut weights = [0.0; 3];
        let mut loss = self.loss(&weights);
        for _ in 0..STEPS {
            let step = self.step(&weights);
            // A whole step may go too far; a short one never does.
            let shorter = (0..STEPS).map(|halvings| 0.5_f64.powi(halvings as i32));
            let tries = shorter.map(|length| [0, 1, 2].map(|at| weights[at] + length * step[at]));
            let Some(next) = tries.map(|next| (self.loss(&next), next)).find(|(next, _)| *next <= loss)
            else {
                break;
            };
            let gain = loss - next.0;
            (loss, weights) = next;
            if gain < PRECISION {
                break;
            }
        }
        let [a, b, c] = weights;
        (loss, Coefficients { a, b, c })
    }

    /// The mean log loss.
    fn loss(&self, weights: &[f64; 3]) -> f64 {
        let rows = self.rows.iter().zip(&self.targets);
        let sum: f64 = rows
            .map(|(row, target)| {
                let logit = dot(row, weights);
                // ln(1 + e^x) - target x, without overflow.
                logit.max(0.0) + (-logit.abs()).exp().ln_1p() - target * logit
            })
            .sum();
        sum / self.rows.len().max(1) as f64
    }

    /// Newton's step: the solution of `curvature * step = -gradient`.
    fn step(&self, weights: &[f64; 3]) -> [f64; 3] {
        // Rows of the curvature, each with minus the gradient as its last number.
        let mut system = [[0.0; 4]; 3];
        for (row, target) in self.rows.iter().zip(&self.targets) {
            let p = sigmoid(dot(row, weights));
            for (equation, of_equation) in system.iter_mut().zip(row) {
                let curvature = row.iter().map(|of_column| p * (1.0 - p) * of_equation * of_column);
                let terms = curvature.chain([(target - p) * of_equation]);
                equation.iter_mut().zip(terms).for_each(|(value, term)| *value += term);
            }
        }
        let count = self.rows.len().max(1) as f64;
        (0..3).for_each(|at| system[at][at] += RIDGE * count);
        solve(system)
    }
}

fn dot(row: &[f64; 3], weights: &[f64; 3]) -> f64 {
    row.iter().zip(weights).map(|(value, weight)| value * weight).sum()
}

/// Gaussian elimination for a positive definite matrix, which needs no pivots.
fn solve(mut system: [[f64; 4]; 3]) -> [f64; 3] {
    for pivot in 0..3 {
        let row = system[pivot];
        for (at, other) in system.iter_mut().enumerate() {
            let factor = if at == pivot { 0.0 } else { other[pivot] / row[pivot] };
            other.iter_mut().zip(row).for_each(|(value, of_pivot)| *value -= factor * of_pivot);
        }
    }
    [0, 1, 2].map(|at| system[at][3] / system[at][at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Groups of three whose scores are correct with the probability that `truth` gives to a score.
    fn groups(count: usize, seed: u64, truth: impl Fn(f64) -> f64) -> Vec<Vec<Judged>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut judged = || {
            let score: f64 = random.random::<f64>().sqrt();
            (score, random.random::<f64>() < truth(score))
        };
        (0..count).map(|_| vec![judged(), judged(), judged()]).collect()
    }

    fn error(groups: &[Vec<Judged>], map: impl Fn(f64) -> f64) -> f64 {
        let mapped = |(score, is_correct): &Judged| (map(*score), *is_correct);
        groups
            .iter()
            .map(|group| group.iter().map(mapped).collect::<Vec<_>>())
            .collect::<Reliability>()
            .error()
    }

    #[test]
    fn a_map_of_the_family_is_found_and_lowers_the_error_on_other_data() {
        let truth = ScoreMap(Coefficients { a: 2.0, b: 0.5, c: -0.5 });
        let map = ScoreMap::fit(&groups(4000, 1, |score| truth.apply(score))).unwrap();
        for score in [0.05, 0.3, 0.6, 0.9, 0.99] {
            assert!((map.apply(score) - truth.apply(score)).abs() < 0.03, "{score}: {map:?}");
        }
        let others = groups(4000, 2, |score| truth.apply(score));
        let (before, after) = (error(&others, |score| score), error(&others, |score| map.apply(score)));
        assert!(after < 0.02 && before > 5.0 * after, "{before} {after}");
    }

    #[test]
    fn overconfident_scores_outside_the_family_are_improved_too() {
        let overconfident = |score: f64| score * score;
        let map = ScoreMap::fit(&groups(1000, 3, overconfident)).unwrap();
        let others = groups(4000, 4, overconfident);
        let (before, after) = (error(&others, |score| score), error(&others, |score| map.apply(score)));
        assert!(after < before / 2.0, "{before} {after}");
    }

    #[test]
    fn scores_that_are_calibrated_are_hardly_changed_or_not_at_all() {
        let found: Vec<_> =
            (0..20).filter_map(|seed| ScoreMap::fit(&groups(300, seed, |score| score))).collect();
        assert!(found.len() < 20, "some maps do not help");
        assert!(!found.is_empty(), "some do, by chance");
        for map in found {
            let furthest = (1..100).map(|at| f64::from(at) / 100.0).map(|s| (map.apply(s) - s).abs());
            assert!(furthest.fold(0.0, f64::max) < 0.15, "{map:?}");
        }
    }

    #[test]
    fn a_coefficient_is_never_negative() {
        // Scores that say the opposite of what is true have no monotone map.
        assert_eq!(ScoreMap::of(&groups(500, 5, |score| 1.0 - score).concat()), None);
        // Most certain scores are wrong: without a bound, b would be negative.
        let odd = |score: f64| if score > 0.9 { 0.6 } else { score };
        let map = ScoreMap::of(&groups(2000, 6, odd).concat()).unwrap();
        assert!(map.0.b == 0.0 && map.0.a > 0.0, "{map:?}");
    }

    #[test]
    fn few_data_or_data_that_are_all_correct_give_finite_maps_or_none() {
        assert_eq!(ScoreMap::fit(&[]), None);
        assert_eq!(ScoreMap::fit(&[vec![(0.9, true)]]), None);
        let right = groups(50, 7, |_| 1.0);
        assert_eq!(ScoreMap::fit(&right), None, "a constant would lose the order of the scores");
        let certain = vec![vec![(1.0, true)]; 49].into_iter().chain([vec![(1.0, false)]]).collect::<Vec<_>>();
        let map = ScoreMap::fit(&certain).unwrap();
        assert!((map.apply(1.0) - 0.96).abs() < 0.02, "{map:?}");
    }

    #[test]
    fn a_map_is_read_back_and_one_that_is_not_monotone_is_refused() {
        let map = ScoreMap::of(&groups(500, 8, |score| score * score).concat()).unwrap();
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<ScoreMap>(&text).unwrap(), map);
        for bad in [r#"{"a":-1,"b":1,"c":0}"#, r#"{"a":1,"b":-0.1,"c":0}"#, r#"{"a":0,"b":0,"c":1}"#] {
            let error = serde_json::from_str::<ScoreMap>(bad).unwrap_err();
            assert!(error.to_string().contains("invalid score map"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn scores_keep_their_order(
            (a, b, c) in (0.0..5.0_f64, 0.0..5.0_f64, -5.0..5.0_f64),
            (one, other) in (0.0..=1.0_f64, 0.0..=1.0_f64),
        ) {
            prop_assume!(a + b > 0.0);
            let map = ScoreMap(Coefficients { a, b, c });
            let [low, high] = [one.min(other), one.max(other)].map(|score| map.apply(score));
            prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
        }
    }
}
