//! What a run looks like: TensorBoard event files while it trains, `report.html` and `plots/*.png` afterwards.
//!
//! Page and plots are made from the files of the run's folder alone (`manifest.json`, `config.toml`, `metrics.jsonl`,
//! `outcome.json`), so they can be made again at any time, of a run that was cut, too.

pub mod history;
mod html;
pub mod plots;
pub mod tensorboard;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, read_text, write_atomic};
use hyperloader_core::run::{Run, RunError, Which};

use self::history::History;
use self::plots::{Axis, Chart, Curve, PlotError};
use crate::evaluate::Evaluation;
use crate::train::{CONFIG, Outcome};

/// The page's file in the run's folder.
pub const PAGE: &str = "report.html";
/// The last evaluation's file in the run's folder, with all details.
pub const OUTCOME: &str = "outcome.json";

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds no run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing was logged yet.
    #[error("run `{}` has no metrics: no update is in its `metrics.jsonl`\nhint: the first is written after `training.log_every` updates", .0.display())]
    NoMetrics(PathBuf),
    /// A line of the metrics is not one of ours.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The last evaluation is unreadable.
    #[error("`{}` is not a run's outcome: {reason}\nhint: remove it to report on the run without it", path.display())]
    Outcome {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A plot could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// All that is shown of a run.
pub(crate) struct Facts {
    run: Run,
    /// The text of `config.toml`.
    config: String,
    history: History,
    /// The last evaluation; none if the run was cut.
    outcome: Option<Outcome>,
}

/// Writes `report.html` and `plots/*.png` into a run's folder and gives the page's path.
///
/// # Errors
/// If the folder holds no run, the run has no metrics, or a file cannot be read or written.
pub fn write(folder: &Path) -> Result<PathBuf, ReportError> {
    let facts = Facts::read(folder)?;
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).map_err(|e| FileError::new("create", &plots, e))?;
    for (name, axis) in [("loss.png", Axis::Loss), ("f1.png", Axis::F1)] {
        let png = facts.overview(axis).png()?;
        write_atomic(&plots.join(name), |w| w.write_all(&png))?;
    }
    let text = html::page(&facts)?;
    let page = folder.join(PAGE);
    write_atomic(&page, |w| w.write_all(text.as_bytes()))?;
    Ok(page)
}

impl Facts {
    fn read(folder: &Path) -> Result<Self, ReportError> {
        let run = Run::open(folder)?;
        let history = History::read(folder)?;
        if history.is_empty() {
            return Err(ReportError::NoMetrics(folder.to_owned()));
        }
        Ok(Self { config: read_text(&folder.join(CONFIG))?, outcome: read_outcome(folder)?, run, history })
    }

    fn tasks(&self) -> impl Iterator<Item = &str> {
        self.run.manifest.tasks.iter().map(|task| task.name.as_str())
    }

    /// One curve a task.
    fn overview(&self, axis: Axis) -> Chart {
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

    /// Scores by task on validation and test data, and the step that they are of. Without a last evaluation they are
    /// those of the best checkpoint that was evaluated.
    fn scores(&self) -> (Option<u64>, BTreeMap<&str, [Option<&Evaluation>; 2]>) {
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
    outcome.map(Some).map_err(|e| ReportError::Outcome { path, reason: e.to_string() })
}
