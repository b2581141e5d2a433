//! `hl-run`: tags sentences with an exported tagger.
//!
//! - [`args`] and [`values`]: the command line; [`command_line`]: models and sentences told apart
//! - [`models`]: the taggers
//! - [`tag`]: plain `hl-run`, which tags records
//! - [`inputs`]: files and stdin as records, read by a thread of its own through a [`queue`]
//! - [`entry`]: what is tagged of a record, and what came of it
//! - [`formats`]: the results as text, JSON, tables and pages
//! - [`output`]: where results go; [`conflict`]: that it is no file that is read; [`partial`]: an output that can be continued
//! - [`progress`]: how far tagging got
//! - [`info`]: `hl-run --info`
//! - [`doctor`]: `hl-run doctor`; [`verify`]: `hl-run verify`

mod args;
mod command_line;
mod conflict;
mod doctor;
mod entry;
mod evaluate;
mod formats;
mod info;
mod inputs;
mod models;
mod output;
mod partial;
mod progress;
mod queue;
mod tag;
mod values;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use hyperloader_cli::{CommonArgs, Console, Exit, Program};
use hyperloader_runtime::{BackendError, EvaluationError, OpenError};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    hyperloader_cli::main::<Args>()
}

impl Program for Args {
    const VARIABLES: &'static [(&'static str, &'static str)] = &[hyperloader_runtime::ORT_TELEMETRY_OFF];

    fn common(&self) -> CommonArgs {
        self.common
    }

    fn run(self, console: &Console) -> Result<Exit> {
        match (self.command, self.tag) {
            (Some(Command::Doctor(args)), _) => return doctor::run(&args, console),
            (Some(Command::Verify(args)), _) => return verify::run(&args, console),
            (Some(Command::Documents(documents)), _) => documents.print::<Self>(console)?,
            (None, Some(args)) if args.info => info::run(&args, console)?,
            (None, Some(args)) if args.is_evaluation() => evaluate::run(&args, console)?,
            (None, Some(args)) => return tag::run(&args, console),
            // clap requires `--model` without a command.
            (None, None) => anyhow::bail!("no model\nhint: name one with `--model FILE`"),
        }
        Ok(Exit::Success)
    }

    /// A backend that fails on a valid file is not the user's error.
    fn classify(error: &anyhow::Error) -> Exit {
        let internal = error.downcast_ref().is_some_and(OpenError::is_internal)
            || error.downcast_ref().is_some_and(BackendError::is_internal)
            || error.downcast_ref().is_some_and(EvaluationError::is_internal);
        if internal { Exit::InternalError } else { Exit::UserError }
    }
}
