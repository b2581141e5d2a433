//! `hl-export`: writes a trained task as one ONNX file.
//!
//! - [`args`]: the command line

mod args;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use hyperloader_cli::{CommonArgs, Console, Exit, Program, Records};
use hyperloader_core::files::check_output;
use hyperloader_core::run::{Candidates, Run};
use hyperloader_exporter::{ExportError, Exported, Exporter};

use crate::args::{Args, Command, ExportArgs};

fn main() -> ExitCode {
    hyperloader_cli::main::<Args>()
}

impl Program for Args {
    fn common(&self) -> CommonArgs {
        self.common
    }

    fn run(self, console: &Console) -> Result<Exit> {
        match (self.command, self.export) {
            (Some(Command::Documents(documents)), _) => documents.print::<Self>(console)?,
            (None, Some(args)) => export_tasks(&args, console)?,
            // clap requires `--task` or `--all` without a command.
            (None, None) => anyhow::bail!("no task\nhint: name one with `--task TASK`, or give `--all`"),
        }
        Ok(Exit::Success)
    }

    fn classify(error: &anyhow::Error) -> Exit {
        match error.chain().filter_map(|cause| cause.downcast_ref()).any(ExportError::is_internal) {
            true => Exit::InternalError,
            false => Exit::UserError,
        }
    }
}

/// Exports each task; an error of one is reported and does not stop the others.
fn export_tasks(args: &ExportArgs, console: &Console) -> Result<()> {
    let run = match &args.run {
        Some(folder) => Run::open(folder)?,
        None => Run::newest(&args.runs, Candidates::Trained)?,
    };
    let tasks: Vec<String> = match &args.task {
        Some(task) => vec![run.task(task)?.name.clone()],
        None => run.manifest.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let format = args.output_format;
    let mut list = args.all.then(|| Records::new(console, format));
    let mut opened: Option<(u64, Exporter)> = None;
    for task in &tasks {
        if let Err(error) = check_output(&output(args, task)) {
            console.error(&error, Exit::UserError);
            continue;
        }
        // One checkpoint serves all tasks, unless each has its own best.
        let step = run.checkpoint(args.which(task))?.step;
        let exporter = match opened.take() {
            Some((open, exporter)) if open == step => exporter,
            _ => {
                console.note(format_args!("run `{}`, checkpoint of step {step}", run.folder.display()));
                Exporter::open(run.clone(), args.which(task), args.backbone.as_deref())?
            }
        };
        let printed = export(args, &exporter, task, console).and_then(|exported| match &mut list {
            Some(list) => list.write(&exported, || exported.to_string()),
            None => console.record(format, &exported, || exported.to_string()),
        });
        if let Err(error) = printed {
            console.error(error.as_ref(), Args::classify(&error));
        }
        opened = Some((step, exporter));
    }
    list.map_or(Ok(()), Records::finish)
}

/// Path of a task's file.
fn output(args: &ExportArgs, task: &str) -> PathBuf {
    args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{task}.onnx")))
}

fn export(args: &ExportArgs, exporter: &Exporter, task: &str, console: &Console) -> Result<Exported> {
    let path = output(args, task);
    let stage = |message: &str| console.note(format_args!("{task}: {message}"));
    let exported = exporter.export(task, &path, &args.options(), &stage)?;
    match &exported.ladder {
        None => console.warn(format_args!("`{}` was not verified, because of `--no-verify`", path.display())),
        Some(ladder) => {
            console.note(format_args!("{task}: verified\n{ladder}"));
            if !ladder.file_was_run {
                console.warn(format_args!(
                    "`{}` was not run, because no backend is available\nhint: `cargo xtask setup` fetches ONNX Runtime",
                    path.display()
                ));
            }
        }
    }
    Ok(exported)
}
