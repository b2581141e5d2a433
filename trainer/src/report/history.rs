//! `metrics.jsonl`: what a run logged, read back.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::files::read_text;
use serde::Deserialize;

use super::ReportError;
use crate::evaluate::Evaluation;
use crate::smoothing::Smoothed;
use crate::train::{METRICS, Step};

/// A line of the file, by its `kind`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// An update.
    Train(Step),
    /// A validation of one task.
    Validation {
        /// Updates done.
        step: u64,
        /// The task.
        task: String,
        /// Its scores.
        evaluation: Evaluation,
    },
    /// The last evaluation; `outcome.json` holds it with its details.
    Outcome {
        /// Step of the best checkpoint.
        best_step: u64,
        /// By task.
        validation: BTreeMap<String, Evaluation>,
        /// By task.
        test: BTreeMap<String, Evaluation>,
    },
    /// A kind of another version.
    #[serde(other)]
    Other,
}

/// Updates and validations of a run.
#[derive(Debug, Default)]
pub struct History {
    steps: BTreeMap<u64, Step>,
    validations: BTreeMap<u64, BTreeMap<String, Evaluation>>,
}

/// Points of a curve: updates done, and a value.
pub type Points = Vec<(u64, f64)>;

impl History {
    /// Reads the metrics of a run's folder; a missing file is an empty history, and so is a last line that was cut.
    ///
    /// # Errors
    /// If the file is unreadable or another line of it is not one of ours.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(METRICS);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = read_text(&path)?;
        let mut history = Self::default();
        for (line, content) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str(content) {
                Ok(read) => history.add(read),
                Err(_) if !content.ends_with('\n') => {}
                Err(e) => {
                    return Err(ReportError::Metrics { path, line: line + 1, reason: e.to_string() });
                }
            }
        }
        Ok(history)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Train(step) => drop(self.steps.insert(step.step, step)),
            Line::Validation { step, task, evaluation } => {
                self.validations.entry(step).or_default().insert(task, evaluation);
            }
            Line::Outcome { .. } | Line::Other => {}
        }
    }

    /// Whether neither an update nor a validation was logged.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.validations.is_empty()
    }

    /// The last update that was logged.
    pub fn last(&self) -> Option<&Step> {
        self.steps.values().next_back()
    }

    /// Whether validations of this step were logged.
    pub fn validated(&self, step: u64) -> bool {
        self.validations.contains_key(&step)
    }

    /// Step of the last validation.
    pub fn last_validated(&self) -> Option<u64> {
        self.validations.keys().next_back().copied()
    }

    /// A task's validation after a step.
    pub fn validation(&self, task: &str, step: u64) -> Option<&Evaluation> {
        self.validations.get(&step)?.get(task)
    }

    /// The loss of a perfect model in nats per token, which is not 0 under label smoothing.
    pub fn floor(&self) -> f64 {
        self.last().map_or(0.0, |step| step.loss - step.loss_above_floor)
    }

    /// A task's training loss above the floor, in nats per token, smoothed over the logged updates.
    pub fn training_loss(&self, task: &str) -> Points {
        let mut smoothed = Smoothed::default();
        let steps = self.steps.values().filter(|step| step.task == task);
        steps.map(|step| (step.step, smoothed.push(step.loss_above_floor))).collect()
    }

    /// A task's validation loss above the floor, in nats per token.
    pub fn validation_loss(&self, task: &str) -> Points {
        let floor = self.floor();
        self.validation_curve(task, |evaluation| evaluation.loss - floor)
    }

    /// A task's F1 on its validation data.
    pub fn validation_f1(&self, task: &str) -> Points {
        self.validation_curve(task, |evaluation| evaluation.f1)
    }

    fn validation_curve(&self, task: &str, value: impl Fn(&Evaluation) -> f64) -> Points {
        let of = |(step, tasks): (&u64, &BTreeMap<String, Evaluation>)| {
            tasks.get(task).map(|evaluation| (*step, value(evaluation)))
        };
        self.validations.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TRAIN: &str = r#"{"kind":"train","step":5,"task":"a","loss":2.5,"loss_above_floor":1.0,"grad_norm":1.0,"learning_rate":0.1,"tokens":9,"seconds":1.5}"#;
    const VALIDATION: &str = r#"{"kind":"validation","step":5,"task":"a","evaluation":{"sentences":2,"loss":2.0,"f1":0.25,"precision":0.5,"recall":0.2}}"#;

    fn read(text: &str) -> Result<History, ReportError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(METRICS), text).unwrap();
        History::read(folder.path())
    }

    #[test]
    fn curves_are_those_of_the_task_and_above_the_floor() {
        let other = TRAIN.replace("\"a\"", "\"b\"").replace("\"step\":5", "\"step\":6");
        let newer = r#"{"kind":"of another version","step":7}"#;
        let history = read(&format!("{TRAIN}\n{other}\n{VALIDATION}\n{newer}\n")).unwrap();
        assert_eq!(history.training_loss("a"), [(5, 1.0)]);
        assert_eq!(history.training_loss("b"), [(6, 1.0)]);
        assert_eq!(history.validation_loss("a"), [(5, 0.5)]);
        assert_eq!(history.validation_f1("a"), [(5, 0.25)]);
        assert_eq!(history.validation_f1("b"), []);
    }

    #[test]
    fn a_cut_last_line_is_left_out_and_any_other_bad_line_is_named() {
        let history = read(&format!("{TRAIN}\n{}", &VALIDATION[..40])).unwrap();
        assert_eq!((history.training_loss("a").len(), history.last_validated()), (1, None));
        let message = read(&format!("{TRAIN}\n{}\n{TRAIN}\n", &VALIDATION[..40])).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl`, line 2: "), "{message}");
    }

    #[test]
    fn a_step_that_is_logged_again_replaces_the_first() {
        let again = TRAIN.replace("\"loss_above_floor\":1.0", "\"loss_above_floor\":0.75");
        let history = read(&format!("{TRAIN}\n{again}\n")).unwrap();
        assert_eq!(history.training_loss("a"), [(5, 0.75)]);
    }
}
