//! The scores of the runs of a comparison: one file per run, means and standard deviations over seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, read_text, write_atomic};
use hyperloader_core::run::Run;
use hyperloader_core::text::metrics::Counts;
use serde::{Deserialize, Serialize};

use super::error::CompareError;
use super::plan::{Cell, Plan};
use crate::parameter_count::of_run;
use crate::record::Outcome;

/// The name of the file with the scores of a run, in its folder.
const SCORES: &str = "scores.json";

/// The scores of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The step of the scored checkpoint.
    pub best_step: u64,
    /// Seconds of training, without evaluations.
    pub train_seconds: f64,
    /// The number of training samples: updates times sentences per update.
    pub samples: u64,
    /// The parameters of the model with all tasks.
    pub parameters: Parameters,
    /// Scores by task.
    pub tasks: BTreeMap<String, TaskScores>,
}

/// Parameters of a trained model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The number of trainable parameters.
    pub trainable: usize,
    /// The number of all parameters.
    pub total: usize,
}

/// The scores of a run on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskScores {
    /// Micro-averaged span F1 on the validation split, from 0 to 1.
    pub validation_f1: Option<f64>,
    /// Micro-averaged span F1 on the test split, from 0 to 1.
    pub test_f1: f64,
    /// The numbers of correct, predicted and gold spans of each test sentence, in the order of the file.
    pub test: Vec<[usize; 3]>,
}

impl Scores {
    /// The scores of a finished training that saw `samples` samples.
    pub fn of(outcome: &Outcome, run: &Run, samples: u64) -> Self {
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
        Self {
            best_step: outcome.best_step,
            train_seconds: outcome.train_seconds,
            samples,
            parameters: Parameters { trainable: counted.trainable, total: counted.total },
            tasks: tasks.collect(),
        }
    }

    /// The path of the scores in a run folder.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(SCORES)
    }

    /// Writes the scores into a run folder, which marks the run as finished.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        let path = Self::path(folder);
        let text = serde_json::to_string(self)
            .map_err(|e| FileError::new("write", &path, std::io::Error::other(e)))?;
        write_atomic(&path, |w| writeln!(w, "{text}"))
    }

    /// Reads the scores of a run folder; `None` if the run is not finished.
    fn read(folder: &Path) -> Result<Option<Self>, CompareError> {
        let path = Self::path(folder);
        if !path.is_file() {
            return Ok(None);
        }
        let scores = serde_json::from_str(&read_text(&path)?);
        scores.map(Some).map_err(|e| CompareError::Scores { path, source: e })
    }

    /// The unweighted mean of the tasks' test F1, as in the paper.
    pub fn mean_f1(&self) -> f64 {
        self.tasks.values().map(|task| task.test_f1).sum::<f64>() / self.tasks.len() as f64
    }
}

/// The mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// Arithmetic mean over the seeds.
    pub mean: f64,
    /// The standard deviation of the sample (divided by n - 1); `None` for a single value.
    pub deviation: Option<f64>,
}

impl Mean {
    /// The mean of `values`; `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

/// The scores of a method at a fraction, over its seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The label of the method.
    pub method: String,
    /// The share of the training sentences.
    pub fraction: f64,
    /// The seeds of the finished runs.
    pub seeds: Vec<u64>,
    /// Test F1 by task.
    pub tasks: BTreeMap<String, Mean>,
    /// The mean of the tasks' test F1.
    pub mean: Option<Mean>,
    /// The parameters of the model.
    pub parameters: Option<Parameters>,
    /// The number of samples of each run.
    pub samples: Option<u64>,
}

/// The scores of all finished runs.
#[derive(Debug)]
pub struct Results<'a> {
    plan: &'a Plan,
    /// The finished runs, in the order of the plan.
    done: Vec<(Cell<'a>, Scores)>,
}

impl<'a> Results<'a> {
    /// Reads the scores of all finished runs.
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

    /// Runs that the comparison consists of.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// The number of finished runs and of all runs.
    pub fn progress(&self) -> (usize, usize) {
        (self.done.len(), self.plan.cells().len())
    }

    /// The scores of a method at a fraction, by seed.
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

    /// A row per method, in the order of the plan.
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

/// Checks that two runs were scored on the same test sentences. Gold spans do not depend on the method, so they must be equal.
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
    fn the_deviation_is_that_of_a_sample_and_a_single_value_has_none() {
        let mean = Mean::of(&[0.2, 0.4, 0.9]).unwrap();
        assert!((mean.mean - 0.5).abs() < 1e-12);
        assert!((mean.deviation.unwrap() - 0.13_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[0.3]), Some(Mean { mean: 0.3, deviation: None }));
        assert_eq!(Mean::of(&[]), None);
    }
}
