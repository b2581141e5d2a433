//! What the runs of a comparison scored: one file a run, means and deviations over seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, read_text, write_atomic};
use hyperloader_core::method::MethodError;
use hyperloader_core::run::Run;
use hyperloader_core::text::metrics::Counts;
use serde::{Deserialize, Serialize};

use super::plan::Cell;
use super::{CompareError, Plan};
use crate::params::of_run;
use crate::train::Outcome;

/// The scores of a run, in its folder.
const SCORES: &str = "scores.json";

/// What a run scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Step of the checkpoint that is scored.
    pub best_step: u64,
    /// Seconds of training, without evaluations.
    pub train_seconds: f64,
    /// Sentences seen in training, each as often as it was seen.
    pub samples: u64,
    /// Of the method on its backbone, with all tasks.
    pub parameters: Parameters,
    /// By task.
    pub tasks: BTreeMap<String, TaskScores>,
}

/// Parameters of a trained model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Those that training changed.
    pub trainable: usize,
    /// Those and the frozen ones.
    pub total: usize,
}

/// What a run scored on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskScores {
    /// Micro-averaged span F1 on the validation split.
    pub validation_f1: Option<f64>,
    /// The same on the test split.
    pub test_f1: f64,
    /// Spans of each test sentence, in the order of the file: right, predicted, gold.
    pub test: Vec<[usize; 3]>,
}

impl Scores {
    /// The scores of a training that has ended; `samples` is what it saw.
    ///
    /// # Errors
    /// If the run's method and its backbone do not belong together.
    pub fn of(outcome: &Outcome, run: &Run, samples: u64) -> Result<Self, MethodError> {
        let counted = of_run(&run.manifest);
        let triple = |counts: &Counts| [counts.correct, counts.predicted, counts.gold];
        let tasks = outcome.test.iter().map(|(task, evaluation)| {
            let sentences = evaluation.details.iter().flat_map(|details| &details.counts);
            let scores = TaskScores {
                validation_f1: outcome.validation.get(task).map(|validation| validation.f1),
                test_f1: evaluation.f1,
                test: sentences.map(triple).collect(),
            };
            (task.clone(), scores)
        });
        Ok(Self {
            best_step: outcome.best_step,
            train_seconds: outcome.train_seconds,
            samples,
            parameters: Parameters { trainable: counted.trainable, total: counted.total },
            tasks: tasks.collect(),
        })
    }

    /// Writes them into a run's folder: the run is done.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        let path = path(folder);
        let text = serde_json::to_string(self)
            .map_err(|e| FileError::new("write", &path, std::io::Error::other(e)))?;
        write_atomic(&path, |w| writeln!(w, "{text}"))
    }

    /// Those of a run that is done.
    fn read(folder: &Path) -> Result<Option<Self>, CompareError> {
        let path = path(folder);
        if !path.is_file() {
            return Ok(None);
        }
        let scores = serde_json::from_str(&read_text(&path)?);
        scores.map(Some).map_err(|e| CompareError::Scores { path, reason: e.to_string() })
    }

    /// Unweighted mean of the tasks' test F1, as the paper's average.
    pub fn mean_f1(&self) -> f64 {
        self.tasks.values().map(|task| task.test_f1).sum::<f64>() / self.tasks.len() as f64
    }
}

/// The file of a run's scores.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(SCORES)
}

/// Mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of the sample (divided by n - 1); none of a single value.
    pub deviation: Option<f64>,
}

impl Mean {
    /// Of `values`; none if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

/// A method at a fraction, over its seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The method's label.
    pub method: String,
    /// Share of the training sentences.
    pub fraction: f64,
    /// Seeds whose runs are done.
    pub seeds: Vec<u64>,
    /// Test F1 by task.
    pub tasks: BTreeMap<String, Mean>,
    /// Mean of the tasks' test F1.
    pub mean: Option<Mean>,
    /// Of the model.
    pub parameters: Option<Parameters>,
    /// Sentences that each run saw.
    pub samples: Option<u64>,
}

/// All scores that are there.
#[derive(Debug)]
pub struct Results<'a> {
    plan: &'a Plan,
    /// Runs that are done, in the plan's order.
    done: Vec<(Cell<'a>, Scores)>,
}

impl<'a> Results<'a> {
    /// Reads the scores of all runs that are done.
    ///
    /// # Errors
    /// If a file is unreadable, or runs were scored on different sentences.
    pub fn read(plan: &'a Plan) -> Result<Self, CompareError> {
        let mut done: Vec<(Cell, Scores)> = Vec::new();
        for cell in plan.cells() {
            if let Some(scores) = Scores::read(&cell.folder(&plan.out))? {
                if let Some((first, known)) = done.first() {
                    check_sentences(plan, (first, known), (&cell, &scores))?;
                }
                done.push((cell, scores));
            }
        }
        Ok(Self { plan, done })
    }

    /// What was compared.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Runs that are done, of all.
    pub fn progress(&self) -> (usize, usize) {
        (self.done.len(), self.plan.cells().len())
    }

    /// Scores of a method at a fraction, by seed.
    pub(super) fn of(&self, method: &str, fraction: f64) -> Vec<(u64, &Scores)> {
        let mut runs: Vec<(u64, &Scores)> = self
            .done
            .iter()
            .filter(|(cell, _)| cell.method.label == method && cell.fraction == fraction)
            .map(|(cell, scores)| (cell.seed, scores))
            .collect();
        runs.sort_by_key(|(seed, _)| *seed);
        runs
    }

    /// A row for each method, in the plan's order.
    pub fn rows(&self, fraction: f64) -> Vec<Row> {
        self.plan.methods.iter().map(|method| self.row(&method.label, fraction)).collect()
    }

    fn row(&self, method: &str, fraction: f64) -> Row {
        let runs = self.of(method, fraction);
        let over_seeds = |value: &dyn Fn(&Scores) -> Option<f64>| {
            Mean::of(&runs.iter().filter_map(|(_, scores)| value(scores)).collect::<Vec<f64>>())
        };
        let tasks = self.plan.tasks().into_iter().filter_map(|task| {
            let f1 = over_seeds(&|scores| Some(scores.tasks.get(task)?.test_f1));
            Some((task.to_owned(), f1?))
        });
        let first = runs.first().map(|(_, scores)| scores);
        Row {
            method: method.to_owned(),
            fraction,
            seeds: runs.iter().map(|(seed, _)| *seed).collect(),
            tasks: tasks.collect(),
            mean: over_seeds(&|scores| Some(scores.mean_f1())),
            parameters: first.map(|scores| scores.parameters),
            samples: first.map(|scores| scores.samples),
        }
    }
}

/// Gold spans do not depend on the method: where they differ, the test sentences are others.
fn check_sentences(
    plan: &Plan,
    (first, known): (&Cell, &Scores),
    (cell, scores): (&Cell, &Scores),
) -> Result<(), CompareError> {
    for task in plan.tasks() {
        let (Some(one), Some(other)) = (known.tasks.get(task), scores.tasks.get(task)) else { continue };
        let unequal = one.test.iter().zip(&other.test).position(|(one, other)| one[2] != other[2]);
        let (what, one, other) = match unequal {
            _ if one.test.len() != other.test.len() => {
                ("there are".to_owned(), one.test.len(), other.test.len())
            }
            Some(at) => (format!("sentence {} has gold spans", at + 1), one.test[at][2], other.test[at][2]),
            None => continue,
        };
        return Err(CompareError::OtherSentences {
            first: first.folder(&plan.out),
            second: cell.folder(&plan.out),
            task: task.to_owned(),
            what,
            one,
            other,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample_and_one_value_has_none() {
        let mean = Mean::of(&[0.2, 0.4, 0.9]).unwrap();
        assert!((mean.mean - 0.5).abs() < 1e-12);
        assert!((mean.deviation.unwrap() - 0.13_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[0.3]), Some(Mean { mean: 0.3, deviation: None }));
        assert_eq!(Mean::of(&[]), None);
    }
}
