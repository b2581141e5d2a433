//! `hl-export`: writes a trained task as one ONNX file.

mod args;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use hyperloader_core::run::Run;
use hyperloader_exporter::{Exported, Exporter};

use crate::args::{Args, OutputFormat};
use crate::report::Reporter;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return report::usage(&error),
    };
    let mut reporter = Reporter::new(args.quiet);
    if let Err(error) = run(&args, &mut reporter) {
        reporter.failed(&error);
    }
    reporter.exit_code()
}

fn run(args: &Args, reporter: &mut Reporter) -> Result<()> {
    let run = match &args.run {
        Some(folder) => Run::open(folder)?,
        None => Run::newest(&args.runs)?,
    };
    let tasks: Vec<String> = match &args.task {
        Some(task) => vec![run.task(task)?.name.clone()],
        None => run.manifest.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let mut opened: Option<(u64, Exporter)> = None;
    for task in &tasks {
        // One checkpoint serves all tasks, unless each has its own best.
        let step = run.checkpoint(args.which(task))?.step;
        let exporter = match opened.take() {
            Some((open, exporter)) if open == step => exporter,
            _ => {
                reporter.note(&format!("run `{}`, checkpoint of step {step}", run.folder.display()));
                Exporter::open(run.clone(), args.which(task), args.backbone.as_deref())?
            }
        };
        if let Err(error) = export(args, &exporter, task, reporter) {
            reporter.failed(&error);
        }
        opened = Some((step, exporter));
    }
    Ok(())
}

fn export(args: &Args, exporter: &Exporter, task: &str, reporter: &Reporter) -> Result<()> {
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{task}.onnx")));
    let stage = |message: &str| reporter.note(&format!("{task}: {message}"));
    let exported = exporter.export(task, &path, &args.options(), &stage)?;
    match &exported.ladder {
        None => reporter.warn(&format!("`{}` was not verified, as asked", path.display())),
        Some(ladder) => {
            reporter.note(&format!("{task}: verified\n{ladder}"));
            if !ladder.file_was_run {
                reporter
                    .warn(&format!("no backend is at hand: `{}` was written but never run", path.display()));
            }
        }
    }
    print(&exported, args.output_format)
}

fn print(exported: &Exported, format: OutputFormat) -> Result<()> {
    let text = match format {
        OutputFormat::Text => exported.to_string(),
        OutputFormat::Json => serde_json::to_string(exported)?,
    };
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever closes the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}
