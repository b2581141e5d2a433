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
/// after.
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
    let run = Run::open(&args.run.folder(Candidates::Trained)?)?;
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

/// `task NAME: temperature 1.42, ECE of tags 0.0310 before and 0.0089 after, of sentences 0.21 and 0.04, on 150 sentences`
fn summary(task: &str, calibration: &TaskCalibration) -> String {
    let TaskCalibration { calibration, tested_on, before, after, sentences, .. } = calibration;
    let of_sentences = sentences.as_ref().map(|Change { before, after }| {
        format!(", of sentences {:.4} before and {:.4} after", before.error(), after.error())
    });
    format!(
        "task `{task}`: temperature {:.3}, ECE of tags {:.4} before and {:.4} after{}, on {tested_on} sentences",
        calibration.temperature,
        before.error(),
        after.error(),
        of_sentences.unwrap_or_default(),
    )
}

fn object(calibration: &TaskCalibration) -> Value {
    let of_sentences = |reliability: fn(&Change) -> &Reliability| {
        calibration.sentences.as_ref().map(|change| reliability(change).error())
    };
    json!({
        "temperature": calibration.calibration.temperature,
        "maps": calibration.calibration.maps,
        "ece_before": calibration.before.error(),
        "ece_after": calibration.after.error(),
        "sentence_ece_before": of_sentences(|change| &change.before),
        "sentence_ece_after": of_sentences(|change| &change.after),
        "fitted_on": calibration.fitted_on,
        "tested_on": calibration.tested_on,
    })
}
