//! The history of a run, read from its `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::files::read_text;

use super::error::ReportError;
use super::plots::Points;
use crate::evaluate::Evaluation;
use crate::record::{Line, METRICS, Step};
use crate::smoothing::Smoothed;

/// The logged updates and validations of a run.
#[derive(Debug, Default)]
pub struct History {
    steps: BTreeMap<u64, Step>,
    validations: BTreeMap<u64, BTreeMap<String, Evaluation>>,
}

impl History {
    /// Reads the metrics of a run folder. A missing file gives an empty history. An incomplete last line is ignored.
    ///
    /// # Errors
    /// If the file is unreadable, or another line is invalid.
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
                Err(source) => return Err(ReportError::Metrics { path, line: line + 1, source }),
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

    /// Whether no update and no validation was logged.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.validations.is_empty()
    }

    /// The last logged update.
    pub fn last(&self) -> Option<&Step> {
        self.steps.values().next_back()
    }

    /// Whether a validation at this step was logged.
    pub fn validated(&self, step: u64) -> bool {
        self.validations.contains_key(&step)
    }

    /// The step of the last validation.
    pub fn last_validated(&self) -> Option<u64> {
        self.validations.keys().next_back().copied()
    }

    /// The validation of a task at a step.
    pub fn validation(&self, task: &str, step: u64) -> Option<&Evaluation> {
        self.validations.get(&step)?.get(task)
    }

    /// The loss of a perfect model in nats per token. It is above 0 with label smoothing.
    pub fn floor(&self) -> f64 {
        self.last().map_or(0.0, |step| step.loss - step.loss_above_floor)
    }

    /// The training loss of a task above the floor, in nats per token, smoothed over the logged updates.
    pub fn training_loss(&self, task: &str) -> Points {
        let mut smoothed = Smoothed::default();
        let steps = self.steps.values().filter(|step| step.task == task);
        steps.map(|step| (step.step, smoothed.push(step.loss_above_floor))).collect()
    }

    /// The training loss of all tasks above the floor, in nats per token, smoothed over the logged updates.
    pub fn mean_training_loss(&self) -> Points {
        let mut smoothed = Smoothed::default();
        self.steps.values().map(|step| (step.step, smoothed.push(step.loss_above_floor))).collect()
    }

    /// The steps of the validations, and the F1 of each task, from 0 to 1.
    pub fn validations(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = (&str, f64)>)> {
        fn of_task<'a>((task, evaluation): (&'a String, &'a Evaluation)) -> (&'a str, f64) {
            (task, evaluation.f1)
        }
        self.validations.iter().map(|(step, tasks)| (*step, tasks.iter().map(of_task)))
    }

    /// The mean of the validation F1 of all tasks, from 0 to 1.
    pub fn mean_validation_f1(&self) -> Points {
        let mean = |tasks: &BTreeMap<String, Evaluation>| {
            tasks.values().map(|evaluation| evaluation.f1).sum::<f64>() / tasks.len() as f64
        };
        self.validations.iter().map(|(step, tasks)| (*step, mean(tasks))).collect()
    }

    /// The validation loss of a task above the floor, in nats per token.
    pub fn validation_loss(&self, task: &str) -> Points {
        let floor = self.floor();
        self.validation_curve(task, |evaluation| evaluation.loss - floor)
    }

    /// The validation F1 of a task, from 0 to 1.
    pub fn validation_f1(&self, task: &str) -> Points {
        self.validation_curve(task, |evaluation| evaluation.f1)
    }

    fn validation_curve(&self, task: &str, value: impl Fn(&Evaluation) -> f64) -> Points {
        let of = |(step, tasks): (&u64, &BTreeMap<String, Evaluation>)| {
            tasks.get(task).map(|evaluation| (*step, value(evaluation)))
        };
        self.validations.iter().filter_map(of).filter(|(_, value)| value.is_finite()).collect()
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
    fn curves_show_one_task_above_the_floor() {
        let other = TRAIN.replace("\"a\"", "\"b\"").replace("\"step\":5", "\"step\":6");
        let newer = r#"{"kind":"of another version","step":7}"#;
        let history = read(&format!("{TRAIN}\n{other}\n{VALIDATION}\n{newer}\n")).unwrap();
        assert_eq!(history.training_loss("a"), [(5, 1.0)]);
        assert_eq!(history.training_loss("b"), [(6, 1.0)]);
        assert_eq!(history.validation_loss("a"), [(5, 0.5)]);
        assert_eq!(history.validation_f1("a"), [(5, 0.25)]);
        assert_eq!(history.validation_f1("b"), []);
        assert_eq!(history.mean_training_loss(), [(5, 1.0), (6, 1.0)]);
        assert_eq!(history.mean_validation_f1(), [(5, 0.25)]);
        let all = history.validations().map(|(step, tasks)| (step, tasks.collect::<Vec<_>>()));
        assert_eq!(all.collect::<Vec<_>>(), [(5, vec![("a", 0.25)])]);
    }

    #[test]
    fn a_loss_that_is_not_a_number_is_no_point_of_its_curve() {
        let diverged =
            VALIDATION.replace("\"loss\":2.0", "\"loss\":null").replace("\"step\":5", "\"step\":9");
        let history = read(&format!("{TRAIN}\n{VALIDATION}\n{diverged}\n")).unwrap();
        assert_eq!(history.validation_loss("a"), [(5, 0.5)]);
        assert_eq!(history.validation_f1("a"), [(5, 0.25), (9, 0.25)]);
        assert!(history.validation("a", 9).unwrap().loss.is_nan());
    }

    #[test]
    fn an_incomplete_last_line_is_ignored_and_any_other_bad_line_is_named() {
        let history = read(&format!("{TRAIN}\n{}", &VALIDATION[..40])).unwrap();
        assert_eq!((history.training_loss("a").len(), history.last_validated()), (1, None));
        let message = read(&format!("{TRAIN}\n{}\n{TRAIN}\n", &VALIDATION[..40])).unwrap_err().to_string();
        assert!(message.ends_with("metrics.jsonl`, line 2"), "{message}");
    }

    #[test]
    fn a_step_that_is_logged_again_replaces_the_first() {
        let again = TRAIN.replace("\"loss_above_floor\":1.0", "\"loss_above_floor\":0.75");
        let history = read(&format!("{TRAIN}\n{again}\n")).unwrap();
        assert_eq!(history.training_loss("a"), [(5, 0.75)]);
    }
}
