//! `hl-train calibrate`.

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::calibration::reliability::Reliability;
use hyperloader_core::run::{Candidates, Change, Run, TaskCalibration, Which};
use hyperloader_trainer::train::calibrate;
use serde_json::{Value, json};

use crate::progress::Progress;
use crate::shared::{ComputeArgs, RunArgs};

/// Calibrate the scores of a run again
///
/// Fits one temperature per task on validation sentences, and maps from probabilities to scores, so that scores agree with
/// the share of correct tags; and counts right and wrong sentences by score, so that `hl-run --max-error` can limit the error
/// rate. Training does this at its end. Prints each task's temperature and its expected calibration error (ECE) before and
/// after, and the error that calibrated scores would show by chance on as few sentences.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train calibrate
  hl-train calibrate runs/hyperloader-1 --threads 4")]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &CalibrateArgs, console: &Console) -> Result<()> {
    let run = Run::open(&args.run.folder(Candidates::Trained, console)?)?;
    let config = args.compute.config_of(&run)?;
    let run = calibrate(config, run, &mut Progress::new(0, console))?;
    let tasks = run.calibrated_tasks(run.checkpoint(Which::Best)?)?;
    let record = |(task, calibration): (&String, &TaskCalibration)| (task.clone(), object(calibration));
    let object: serde_json::Map<String, Value> = tasks.iter().map(record).collect();
    let record = json!({ "run": run.folder, "tasks": object });
    let text = || {
        let line = |(task, calibration): (&String, &TaskCalibration)| summary(task, calibration);
        tasks.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    console.record(args.format.output_format, &record, text)
}

/// `task NAME: temperature 1.420; on 300 sentences, ECE of tags 0.0310 before and 0.0089 after (0.0070 by chance), of sentences ...`
fn summary(task: &str, calibration: &TaskCalibration) -> String {
    let TaskCalibration { calibration, tested_on, before, after, sentences, .. } = calibration;
    let change = |before: &Reliability, after: &Reliability| {
        let chance = after.error_by_chance().map(|error| format!(" ({error:.4} by chance)"));
        let (before, after) = (before.error(), after.error());
        format!("{before:.4} before and {after:.4} after{}", chance.unwrap_or_default())
    };
    let of_sentences =
        sentences.as_ref().map(|of| format!(", of sentences {}", change(&of.before, &of.after)));
    format!(
        "task `{task}`: temperature {:.3}; on {tested_on} sentences, ECE of tags {}{}",
        calibration.temperature,
        change(before, after),
        of_sentences.unwrap_or_default(),
    )
}

fn object(calibration: &TaskCalibration) -> Value {
    let TaskCalibration { calibration, fitted_on, tested_on, before, after, sentences } = calibration;
    let mut object = json!({
        "temperature": calibration.temperature,
        "maps": calibration.maps,
        "fitted_on": fitted_on,
        "tested_on": tested_on,
    });
    let of_sentences = sentences.iter().flat_map(|Change { before, after }| {
        [("sentence_", "before", before), ("sentence_", "after", after)]
    });
    for (of, when, reliability) in
        [("", "before", before), ("", "after", after)].into_iter().chain(of_sentences)
    {
        object[format!("{of}ece_{when}")] = reliability.error().into();
        object[format!("{of}ece_by_chance_{when}")] = reliability.error_by_chance().into();
        object[format!("{of}debiased_error_{when}")] = reliability.debiased_error().into();
    }
    object
}
