//! `hl-train report`.

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::run::Candidates;
use hyperloader_trainer::report;
use serde_json::json;

use crate::shared::RunArgs;

/// Write the report of a run again
///
/// Writes `report.html` and its plots into the run's folder and prints the path of the page. It also works for a run
/// that was interrupted.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train report
  hl-train report runs/hyperloader-1")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &ReportArgs, console: &Console) -> Result<()> {
    let page = report::write(&args.run.folder(Candidates::Trained, console)?)?;
    console.record(args.format.output_format, &json!({ "report": page }), || page.display().to_string())
}
