//! `hl-train calibrate`.

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::run::{Run, TaskCalibration, Which};
use hyperloader_trainer::train::calibrate;
use serde_json::{Value, json};

use crate::progress::Progress;
use crate::shared::{ComputeArgs, RunArgs};

/// Calibrate the scores of a run again
///
/// Fits one temperature per task on validation sentences, so that scores agree with the share of correct tags, and counts
/// right and wrong sentences by score, so that `hl-run --max-error` can limit the error rate. Training does this at its
/// end. Prints each task's temperature and its expected calibration error (ECE) before and after.
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
    let run = Run::open(&args.run.folder()?)?;
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

/// `task NAME: temperature 1.42, ECE 0.0310 before and 0.0089 after, on 150 sentences`
fn summary(task: &str, calibration: &TaskCalibration) -> String {
    let TaskCalibration { calibration, tested_on, before, after, .. } = calibration;
    format!(
        "task `{task}`: temperature {:.3}, ECE {:.4} before and {:.4} after, on {tested_on} sentences",
        calibration.temperature,
        before.error(),
        after.error(),
    )
}

fn object(calibration: &TaskCalibration) -> Value {
    json!({
        "temperature": calibration.calibration.temperature,
        "ece_before": calibration.before.error(),
        "ece_after": calibration.after.error(),
        "fitted_on": calibration.fitted_on,
        "tested_on": calibration.tested_on,
    })
}
