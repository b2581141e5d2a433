//! What a rung measured of a candidate.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::files::read_text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TuneError;
use crate::record::METRICS;

/// A candidate at the end of a rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The learning rate of the candidate.
    pub learning_rate: f64,
    /// The step at which the rung ends.
    pub rung: u64,
    /// What was found.
    pub measured: Measured,
}

/// The state of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Measured {
    /// The scores of the best checkpoint so far, which training would return if it ended here.
    Scores {
        /// The step of the checkpoint.
        step: u64,
        /// The label-smoothed validation loss in nats per target token, a mean over the tasks.
        validation_loss: f64,
        /// The span F1 on the validation splits, a mean over the tasks, from 0 to 1.
        validation_f1: f64,
    },
    /// A loss or a gradient is not finite; the message says which.
    Diverged(String),
}

/// The sums of an evaluation.
#[derive(Default)]
struct Sums {
    tasks: usize,
    loss: f64,
    f1: f64,
}

/// Reads what a run of `tasks` tasks has measured by step `steps` from its log.
///
/// # Errors
/// If the log cannot be read, or has no evaluation until then.
pub(super) fn measured(run: &Path, steps: u64, tasks: usize) -> Result<Measured, TuneError> {
    let path = run.join(METRICS);
    let evaluations = evaluations(&read_text(&path)?, steps);
    let mean = |sum: f64| sum / tasks as f64;
    let whole = |(step, sums): (&u64, &Sums)| {
        // A value that is not finite is no number in JSON.
        (sums.tasks == tasks).then(|| (*step, mean(sums.loss), mean(sums.f1)))
    };
    let Some(last) = evaluations.iter().next_back() else {
        return Err(TuneError::NoEvaluation { path, steps });
    };
    if whole(last).is_none() {
        return Ok(Measured::Diverged(format!("the validation loss is not finite at step {}", last.0)));
    }
    // The checkpoint that a run keeps as its best one: the first of the lowest loss.
    let best = evaluations.iter().filter_map(whole).min_by(|a, b| a.1.total_cmp(&b.1));
    let Some((step, validation_loss, validation_f1)) = best else {
        return Err(TuneError::NoEvaluation { path, steps });
    };
    Ok(Measured::Scores { step, validation_loss, validation_f1 })
}

/// Whether the training of a run has ended: the last line of its log has the final scores.
///
/// # Errors
/// If the log cannot be read.
pub(super) fn has_ended(run: &Path) -> Result<bool, TuneError> {
    let log = read_text(&run.join(METRICS))?;
    let last = log.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
    Ok(last.is_some_and(|line| line["kind"] == "outcome"))
}

/// The evaluations of a log from step 1 to `steps`, by step.
fn evaluations(log: &str, steps: u64) -> BTreeMap<u64, Sums> {
    let mut evaluations: BTreeMap<u64, Sums> = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let step = line["step"].as_u64().filter(|step| (1..=steps).contains(step));
        if let (Some("validation"), Some(step)) = (line["kind"].as_str(), step) {
            let sums = evaluations.entry(step).or_default();
            let scores = &line["evaluation"];
            if let (Some(loss), Some(f1)) = (scores["loss"].as_f64(), scores["f1"].as_f64()) {
                sums.tasks += 1;
                sums.loss += loss;
                sums.f1 += f1;
            }
        }
    }
    evaluations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, task: &str, loss: &str, f1: f64) -> String {
        format!(
            "{{\"kind\":\"validation\",\"step\":{step},\"task\":\"{task}\",\"evaluation\":{{\"loss\":{loss},\"f1\":{f1}}}}}"
        )
    }

    fn at(lines: &[String], steps: u64) -> Result<Measured, TuneError> {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(METRICS), lines.join("\n")).unwrap();
        measured(run.path(), steps, 2)
    }

    #[test]
    fn the_scores_are_those_of_the_best_checkpoint_by_the_step_of_the_rung() {
        let train = "{\"kind\":\"train\",\"step\":2,\"loss\":9.0}".to_owned();
        let both = |step, loss: &str, f1| [line(step, "a", loss, f1), line(step, "b", loss, f1 + 0.5)];
        let log = [
            vec![train],
            both(2, "1.5", 0.25).into(),
            both(4, "2.0", 0.5).into(),
            both(6, "1.0", 0.0).into(),
        ];
        let log = log.concat();
        let scores =
            |step, validation_loss, validation_f1| Measured::Scores { step, validation_loss, validation_f1 };
        assert_eq!(at(&log, 4).unwrap(), scores(2, 1.5, 0.5));
        assert_eq!(at(&log, 6).unwrap(), scores(6, 1.0, 0.25));
        assert_eq!(at(&log, 100).unwrap(), scores(6, 1.0, 0.25));
        assert!(matches!(at(&log, 1), Err(TuneError::NoEvaluation { steps: 1, .. })));
    }

    #[test]
    fn a_loss_that_is_not_finite_at_the_last_evaluation_is_divergence() {
        let log = [
            line(2, "a", "1.5", 0.25),
            line(2, "b", "1.5", 0.25),
            line(4, "a", "null", 0.0),
            line(4, "b", "1.0", 0.0),
        ];
        let expected = Measured::Diverged("the validation loss is not finite at step 4".to_owned());
        assert_eq!(at(&log, 4).unwrap(), expected);
        assert!(matches!(at(&log, 3).unwrap(), Measured::Scores { step: 2, .. }));
    }
}
