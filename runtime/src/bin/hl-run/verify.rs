//! `hl-run verify`: whether files are as they were exported, and whether every backend answers as the reference model does.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueHint};
use hyperloader_cli::{Console, Exit, OutputFormat, Records};
use hyperloader_runtime::{BackendOptions, Device, NotRun, ProofReport};
use serde::Serialize;

/// Check that files are as they were exported
///
/// Compares graph, weights and metadata with the digests that hl-export stored in the file, and runs the file in every
/// backend that can be loaded: its logits must be those of the reference model, and the tagger must choose the same ids. The
/// digests show damage, not who wrote a file. The exit code is 1 if a file is not as it was exported.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-run verify mtop.onnx
  hl-run verify taggers/*.onnx --output-format jsonl")]
pub(crate) struct VerifyArgs {
    /// Files that hl-export wrote
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Device of ONNX Runtime: `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,

    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output_format: OutputFormat,
}

/// The result for a file.
#[derive(Debug, Serialize)]
struct Verified<'a> {
    file: String,
    holds: bool,
    #[serde(flatten)]
    report: &'a ProofReport,
}

/// Checks each file; an error of one is reported and does not stop the others.
pub(crate) fn run(args: &VerifyArgs, console: &Console) -> Result<Exit> {
    let options =
        BackendOptions { device: args.device, ort_lib: args.ort_lib.clone(), ..BackendOptions::default() };
    let mut records = Records::new(console, args.output_format);
    let mut exit = Exit::Success;
    for file in &args.files {
        let name = file.display().to_string();
        let stage = |step: &str| console.note(format_args!("{name}: {step}"));
        match ProofReport::new(file, &options, &stage) {
            Err(error) => {
                console.error(&error, Exit::UserError);
                exit = Exit::UserError;
            }
            Ok(report) => {
                let holds = report.holds();
                records.write(&Verified { file: name.clone(), holds, report: &report }, || {
                    text(&name, &report)
                })?;
                if !report.was_run() {
                    console.warn(format_args!("`{name}`: its digests were compared, but no backend ran it"));
                }
                // What was named must have run.
                let named = args.ort_lib.is_some() || args.device != Device::Cpu;
                if !holds || named && !report.was_run() {
                    exit = Exit::UserError;
                }
            }
        }
    }
    records.finish()?;
    Ok(exit)
}

/// The checks of a file, a line each.
fn text(name: &str, report: &ProofReport) -> String {
    let verdict = |holds| if holds { "ok" } else { "FAILED" };
    let line = |verdict: &str, what: &str, found: &str| {
        format!("  {verdict:7}  {what}: {}", found.replace('\n', "; "))
    };
    let checks = report.checks.iter().map(|check| line(verdict(check.holds), &check.what, &check.found));
    let not_run = report.not_run.iter().map(|NotRun { backend, reason }| line("not run", backend, reason));
    let lines = checks.chain(not_run);
    let cost = report.cost.iter().map(|cost| format!("  cost of the precision: {cost}"));
    let as_exported = match (report.holds(), report.was_run()) {
        (true, true) => "as exported",
        (true, false) => "digests as exported, not run",
        (false, _) => "NOT as exported",
    };
    let title = format!("{name}: {as_exported}");
    std::iter::once(title).chain(lines).chain(cost).collect::<Vec<_>>().join("\n")
}
