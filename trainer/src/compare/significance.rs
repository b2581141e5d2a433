//! Significance tests of a comparison: the paired bootstrap ([`hyperloader_core::evaluate::bootstrap`]).
//!
//! Runs of two methods are paired by seed. For all tasks together, the difference is the mean over tasks, whose sentences are
//! drawn independently.

use hyperloader_core::evaluate::bootstrap::{Sample, paired_bootstrap, resample};
use serde::Serialize;

use super::results::{Results, Scores};

/// A test of whether a method is better than another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Significance {
    /// The share of the training sentences.
    pub fraction: f64,
    /// The task; `None` for the mean of all tasks.
    pub task: Option<String>,
    /// The label of the method that is tested for being better.
    pub method: String,
    /// The label of the other method.
    pub than: String,
    /// The number of seeds with runs of both methods.
    pub seeds: usize,
    /// The difference of F1, a mean over these seeds; positive if `method` is better.
    pub difference: f64,
    /// The estimated probability of such a difference if the methods were equal. 0 means below 1 / draws.
    pub p: f64,
}

/// The mean of samples over tasks, for each draw.
fn mean(samples: &[&Sample]) -> Sample {
    let n = samples.len() as f64;
    let draws = samples.iter().map(|sample| sample.drawn.len()).min().unwrap_or(0);
    Sample {
        observed: samples.iter().map(|sample| sample.observed).sum::<f64>() / n,
        drawn: (0..draws).map(|at| samples.iter().map(|sample| sample.drawn[at]).sum::<f64>() / n).collect(),
    }
}

/// Tests each ordered pair of methods, for each task and for the mean of all tasks.
pub fn test_all(results: &Results, fraction: f64) -> Vec<Significance> {
    let plan = results.plan();
    let runs: Vec<(&str, u64, &Scores)> = plan
        .methods
        .iter()
        .flat_map(|method| {
            let runs = results.of(&method.label, fraction);
            runs.into_iter().map(|(seed, scores)| (method.label.as_str(), seed, scores))
        })
        .collect();
    let scored = |task: &&str| runs.iter().all(|(.., scores)| scores.tasks.contains_key(*task));
    let tasks: Vec<&str> = plan.tasks().into_iter().filter(scored).collect();
    if runs.is_empty() || tasks.is_empty() {
        return Vec::new();
    }
    let by_task: Vec<Vec<Sample>> = tasks
        .iter()
        .enumerate()
        .map(|(stream, task)| {
            let counts: Vec<&[[usize; 3]]> =
                runs.iter().map(|(.., scores)| scores.tasks[*task].test.as_slice()).collect();
            resample(&counts, plan.resamples, stream as u64)
        })
        .collect();
    let all =
        (0..runs.len()).map(|run| mean(&by_task.iter().map(|samples| &samples[run]).collect::<Vec<_>>()));
    let all: Vec<Sample> = all.collect();
    let names: Vec<(&str, u64)> = runs.iter().map(|(label, seed, _)| (*label, *seed)).collect();
    let per_task = tasks.iter().map(|task| Some(*task)).zip(&by_task);
    std::iter::once((None, &all))
        .chain(per_task)
        .flat_map(|(task, samples)| test_pairs(fraction, task, &names, samples))
        .collect()
}

/// Tests each ordered pair of methods. `samples` are those of `runs`, which are labels of methods with seeds.
fn test_pairs(
    fraction: f64,
    task: Option<&str>,
    runs: &[(&str, u64)],
    samples: &[Sample],
) -> Vec<Significance> {
    let mut labels: Vec<&str> = runs.iter().map(|(label, _)| *label).collect();
    labels.dedup();
    let mut tests = Vec::new();
    for method in &labels {
        for than in labels.iter().filter(|than| *than != method) {
            let of = |label: &str, seed: u64| {
                runs.iter().position(|run| *run == (label, seed)).map(|at| &samples[at])
            };
            let seeds = runs.iter().filter(|(label, _)| label == method).map(|(_, seed)| *seed);
            let pairs: Vec<(&Sample, &Sample)> =
                seeds.filter_map(|seed| Some((of(method, seed)?, of(than, seed)?))).collect();
            if pairs.is_empty() {
                continue;
            }
            let (difference, p) = paired_bootstrap(&pairs);
            tests.push(Significance {
                fraction,
                task: task.map(str::to_owned),
                method: (*method).to_owned(),
                than: (*than).to_owned(),
                seeds: pairs.len(),
                difference,
                p,
            });
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_averaged_by_draw() {
        let sample = |observed: f64, drawn: &[f64]| Sample { observed, drawn: drawn.to_vec() };
        let both = mean(&[&sample(0.5, &[0.6, 0.4]), &sample(0.7, &[0.7, 0.7])]);
        assert!((both.observed - 0.6).abs() < 1e-12 && (both.drawn[1] - 0.55).abs() < 1e-12);
    }
}
