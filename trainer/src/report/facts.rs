//! The content of a run folder that a report shows.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::files::read_text;
use hyperloader_core::run::{Run, TaskCalibration, Which};

use super::error::ReportError;
use super::history::History;
use super::plots::{Axis, Chart, Curve};
use crate::evaluate::Evaluation;
use crate::record::{CONFIG, OUTCOME, Outcome};

/// The content of a run folder.
pub(super) struct Facts {
    pub(super) run: Run,
    /// The text of `config.toml`.
    pub(super) config: String,
    pub(super) history: History,
    /// The final evaluation; `None` if the run was interrupted.
    pub(super) outcome: Option<Outcome>,
    /// The calibration of each task whose scores with the best checkpoint are calibrated.
    pub(super) calibration: BTreeMap<String, TaskCalibration>,
}

/// The scores of a task on the validation and test splits.
pub(super) type SplitScores<'a> = [Option<&'a Evaluation>; 2];

impl Facts {
    /// Reads a run folder.
    pub(super) fn read(folder: &Path) -> Result<Self, ReportError> {
        let run = Run::open(folder)?;
        let history = History::read(folder)?;
        if history.is_empty() {
            return Err(ReportError::NoMetrics(folder.to_owned()));
        }
        // An interrupted run may have no checkpoint.
        let calibration = match run.checkpoint(Which::Best) {
            Ok(best) => run.calibrated_tasks(best)?,
            Err(_) => BTreeMap::new(),
        };
        let config = read_text(&folder.join(CONFIG))?;
        Ok(Self { config, outcome: read_outcome(folder)?, calibration, run, history })
    }

    /// The names of the tasks.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &str> {
        self.run.manifest.tasks.iter().map(|task| task.name.as_str())
    }

    /// A chart with one curve per task.
    pub(super) fn overview(&self, axis: Axis) -> Chart {
        let curve = |(color, task): (usize, &str)| Curve {
            name: task.to_owned(),
            color,
            points: match axis {
                Axis::Loss => self.history.training_loss(task),
                Axis::F1 => self.history.validation_f1(task),
            },
        };
        let title = match axis {
            Axis::Loss => "training loss above the smoothing floor",
            Axis::F1 => "validation F1",
        };
        Chart { title, axis, curves: self.tasks().enumerate().map(curve).collect() }
    }

    /// The scores of each task and the step of the checkpoint that they belong to. Without a final evaluation, they are the
    /// validation scores of the best checkpoint that was evaluated.
    pub(super) fn scores(&self) -> (Option<u64>, BTreeMap<&str, SplitScores<'_>>) {
        if let Some(outcome) = &self.outcome {
            let of = |task| (task, [outcome.validation.get(task), outcome.test.get(task)]);
            return (Some(outcome.best_step), self.tasks().map(of).collect());
        }
        let best = self.run.checkpoint(Which::Best).ok().map(|checkpoint| checkpoint.step);
        let step = best.filter(|step| self.history.validated(*step)).or(self.history.last_validated());
        let of = |task| (task, [step.and_then(|step| self.history.validation(task, step)), None]);
        (step, self.tasks().map(of).collect())
    }
}

fn read_outcome(folder: &Path) -> Result<Option<Outcome>, ReportError> {
    let path = folder.join(OUTCOME);
    if !path.exists() {
        return Ok(None);
    }
    let outcome = serde_json::from_str(&read_text(&path)?);
    outcome.map(Some).map_err(|source| ReportError::Outcome { path, source })
}
