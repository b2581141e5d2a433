//! The paired bootstrap of Berg-Kirkpatrick, Burkett and Klein (2012), "An Empirical Investigation of Statistical Significance in
//! NLP".
//!
//! Test sentences are drawn with replacement, the same ones for all runs. Let d be the observed difference of F1, and d* the
//! difference on a draw. p is the share of draws with d* >= 2d. It estimates how often the choice of sentences alone causes a
//! difference of at least d. If there are several pairs of runs, d is the mean over pairs.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::text::metrics::Counts;

/// The seed of the draws. It is fixed, so that the tables of a comparison can be reproduced.
const SEED: u64 = 0;
/// Smaller differences of F1 are rounding errors.
const ROUNDING: f64 = 1e-12;

/// F1 of a run on all test sentences, and on each draw of the same number of sentences.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// F1 on all test sentences.
    pub observed: f64,
    /// F1 on each draw.
    pub drawn: Vec<f64>,
}

/// Draws as many sentences as there are, with replacement, `draws` times, and scores each run on them.
///
/// `runs` `[runs][sentences]` has the numbers of correct, predicted and gold spans of the same sentences. Different values of
/// `stream` give independent draws.
pub fn resample(runs: &[&[[usize; 3]]], draws: usize, stream: u64) -> Vec<Sample> {
    let sentences = runs.iter().map(|run| run.len()).min().unwrap_or(0);
    // A row per sentence with three counts per run, so that drawing a sentence adds one row.
    let rows: Vec<Vec<u32>> = (0..sentences)
        .map(|at| runs.iter().flat_map(|run| run[at].map(|count| count as u32)).collect())
        .collect();
    let f1 = |sums: &[u32]| -> Vec<f64> { sums.chunks_exact(3).map(f1).collect() };
    let zeros = vec![0u32; 3 * runs.len()];
    let add = |sums: &mut [u32], row: &[u32]| sums.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
    let mut sums = zeros.clone();
    rows.iter().for_each(|row| add(&mut sums, row));
    let observed = f1(&sums);
    let mut samples: Vec<Sample> =
        observed.into_iter().map(|observed| Sample { observed, drawn: Vec::with_capacity(draws) }).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    rng.set_stream(stream);
    for _ in 0..draws {
        sums.copy_from_slice(&zeros);
        for _ in 0..sentences {
            add(&mut sums, &rows[rng.random_range(0..sentences as u64) as usize]);
        }
        samples.iter_mut().zip(f1(&sums)).for_each(|(sample, f1)| sample.drawn.push(f1));
    }
    samples
}

fn f1(counts: &[u32]) -> f64 {
    let [correct, predicted, gold] = [counts[0], counts[1], counts[2]].map(|count| count as usize);
    Counts { correct, predicted, gold }.scores().f1
}

/// The observed difference and p of paired runs, for the hypothesis that the first of each pair is better.
pub fn paired_bootstrap(pairs: &[(&Sample, &Sample)]) -> (f64, f64) {
    let n = pairs.len() as f64;
    let difference = pairs.iter().map(|(a, b)| a.observed - b.observed).sum::<f64>() / n;
    let draws = pairs.iter().map(|(a, b)| a.drawn.len().min(b.drawn.len())).min().unwrap_or(0);
    let drawn = |at: usize| pairs.iter().map(|(a, b)| a.drawn[at] - b.drawn[at]).sum::<f64>() / n;
    let as_far = (0..draws).filter(|at| drawn(*at) >= 2.0 * difference - ROUNDING).count();
    (difference, as_far as f64 / draws.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRAWS: usize = 10_000;

    fn p(a: &[[usize; 3]], b: &[[usize; 3]]) -> (f64, f64) {
        let samples = resample(&[a, b], DRAWS, 0);
        paired_bootstrap(&[(&samples[0], &samples[1])])
    }

    /// Difference and exact p over all `n^n` draws, in integers: F1 is 2 correct / (predicted + gold).
    fn brute_force(a: &[[usize; 3]], b: &[[usize; 3]]) -> (f64, f64) {
        let n = a.len();
        let difference = |draw: &[usize]| {
            let f1 = |run: &[[usize; 3]]| {
                let sum = |part: usize| draw.iter().map(|&at| run[at][part]).sum::<usize>() as f64;
                let spans = sum(1) + sum(2);
                if spans == 0.0 { 0.0 } else { 2.0 * sum(0) / spans }
            };
            f1(a) - f1(b)
        };
        let all: Vec<usize> = (0..n).collect();
        let observed = difference(&all);
        let draws = n.pow(n as u32);
        let far = (0..draws).filter(|number| {
            let draw: Vec<usize> = (0..n).map(|at| number / n.pow(at as u32) % n).collect();
            difference(&draw) >= 2.0 * observed - 1e-12
        });
        (observed, far.count() as f64 / draws as f64)
    }

    #[test]
    fn p_is_the_one_computed_by_hand_for_two_sentences() {
        // One gold span each; the first system finds the first, the second none. F1 of the first: 2*1/(1+2) = 2/3.
        // Draws: (1,1) gives 1, (1,2) and (2,1) give 2/3, (2,2) gives 0; none of the four reaches 4/3: p = 0.
        let (a, b) = ([[1, 1, 1], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]);
        let (difference, found) = p(&a, &b);
        assert!((difference - 2.0 / 3.0).abs() < 1e-12 && found == 0.0);
        // The other way round d = -2/3, and all four draws are at least -4/3: p = 1.
        assert_eq!(p(&b, &a).1, 1.0);
        // Each finds one, A of four spans that it predicts: 2*1/(4+2) = 1/3 against 2/3, d = -1/3. Draws of the
        // first: 1/3 for (1,1), of the second: 0; B's F1 on them: 0 and 1. d* is 2/5, -1/3 twice and -1: three of
        // the four are at least -2/3.
        let (a, b) = ([[1, 4, 1], [0, 0, 1]], [[0, 0, 1], [1, 1, 1]]);
        let (difference, found) = p(&a, &b);
        assert!((difference + 1.0 / 3.0).abs() < 1e-12);
        assert!((found - 0.75).abs() < 0.02, "{found}");
    }

    #[test]
    fn p_is_near_the_share_of_all_possible_draws() {
        let a = [[2, 2, 2], [1, 1, 2], [0, 1, 1], [1, 1, 1], [3, 4, 3]];
        let b = [[1, 2, 2], [1, 1, 2], [1, 1, 1], [0, 0, 1], [3, 3, 3]];
        for (a, b) in [(&a, &b), (&b, &a)] {
            let ((difference, found), (observed, exact)) = (p(a, b), brute_force(a, b));
            assert!((difference - observed).abs() < 1e-12);
            assert!((found - exact).abs() < 0.02, "{found} against {exact}");
            assert!((0.05..0.999).contains(&exact), "{exact} proves nothing");
        }
    }

    #[test]
    fn differences_of_pairs_are_averaged() {
        let flat = |observed: f64, drawn: &[f64]| Sample { observed, drawn: drawn.to_vec() };
        let (a1, b1) = (flat(0.5, &[0.6, 0.4]), flat(0.4, &[0.2, 0.4]));
        let (a2, b2) = (flat(0.7, &[0.7, 0.7]), flat(0.6, &[0.6, 0.7]));
        // d = 0.1; d* = (0.4 + 0.1) / 2 = 0.25 and 0: one of two is at least 0.2.
        let (difference, found) = paired_bootstrap(&[(&a1, &b1), (&a2, &b2)]);
        assert!((difference - 0.1).abs() < 1e-12 && (found - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_clear_winner_on_many_sentences_is_significant_and_a_tie_is_not() {
        let good = vec![[1, 1, 1]; 200];
        let bad: Vec<[usize; 3]> = (0..200).map(|at| [usize::from(at % 5 > 0), 1, 1]).collect();
        assert!(p(&good, &bad).1 < 1e-3);
        let shifted: Vec<[usize; 3]> = (0..200).map(|at| [usize::from(at % 5 < 4), 1, 1]).collect();
        assert!(p(&bad, &shifted).1 > 0.2);
    }

    fn sentences() -> impl Strategy<Value = Vec<([usize; 3], [usize; 3])>> {
        let sentence = (0usize..4).prop_flat_map(|gold| {
            let run = (0usize..4).prop_flat_map(move |predicted| {
                (0..=gold.min(predicted)).prop_map(move |correct| [correct, predicted, gold])
            });
            (run.clone(), run)
        });
        prop::collection::vec(sentence, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn p_is_a_probability_and_identical_systems_are_never_significant(rows in sentences()) {
            let (a, b): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let samples = resample(&[&a, &b, &a], 200, 3);
            let (difference, p) = paired_bootstrap(&[(&samples[0], &samples[1])]);
            prop_assert!((0.0..=1.0).contains(&p) && (-1.0..=1.0).contains(&difference));
            prop_assert_eq!(&samples[0], &samples[2]);
            prop_assert_eq!(paired_bootstrap(&[(&samples[0], &samples[2])]), (0.0, 1.0));
            let back = paired_bootstrap(&[(&samples[1], &samples[0])]);
            prop_assert_eq!(back.0, -difference);
        }
    }
}
