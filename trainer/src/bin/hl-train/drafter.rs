//! `hl-train drafter`.

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::run::{Candidates, Run};
use hyperloader_trainer::train::fit_drafters;
use serde_json::json;

use crate::progress::Progress;
use crate::shared::{ComputeArgs, RunArgs};

/// Fit the drafters of a run again
///
/// A drafter is a tag classifier on the encoder's output. It makes `hl-run` faster and changes no tag. Training fits
/// the drafters at its end; this command does the same for a run without drafters. It prints the run's folder.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train drafter
  hl-train drafter runs/hyperloader-1 --threads 4")]
pub(crate) struct DrafterArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &DrafterArgs, console: &Console) -> Result<()> {
    let run = Run::open(&args.run.folder(Candidates::Trained, console)?)?;
    let config = args.compute.config_of(&run)?;
    let run = fit_drafters(config, run, &mut Progress::new(0, console))?;
    let text = || run.folder.display().to_string();
    console.record(args.format.output_format, &json!({ "run": run.folder }), text)
}
