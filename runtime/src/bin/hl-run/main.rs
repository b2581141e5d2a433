//! `hl-run`: tags sentences with an exported tagger.
//!
//! - [`args`]: the command line
//! - [`tag`]: plain `hl-run`, which tags sentences
//! - [`mod@format`]: tagged sentences as text and as JSON
//! - [`info`]: `hl-run --info`
//! - [`doctor`]: `hl-run doctor`
//! - [`lines`]: stdin in batches of lines

mod args;
mod doctor;
mod format;
mod info;
mod lines;
mod tag;

use std::process::ExitCode;

use anyhow::Result;
use hyperloader_cli::{CommonArgs, Console, Exit, Program};
use hyperloader_runtime::{BackendError, OpenError};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    hyperloader_cli::main::<Args>()
}

impl Program for Args {
    fn common(&self) -> CommonArgs {
        self.common
    }

    fn run(self, console: &Console) -> Result<Exit> {
        match (self.command, self.tag) {
            (Some(Command::Doctor(args)), _) => return doctor::run(&args, console),
            (Some(Command::Documents(documents)), _) => documents.print::<Self>(console)?,
            (None, Some(args)) if args.info => info::run(&args, console)?,
            (None, Some(args)) => tag::run(&args, console)?,
            // clap requires `--model` without a command.
            (None, None) => anyhow::bail!("no model\nhint: name one with `--model FILE`"),
        }
        Ok(Exit::Success)
    }

    /// A backend that fails on a valid file is not the user's error.
    fn classify(error: &anyhow::Error) -> Exit {
        let internal = match error.downcast_ref::<OpenError>() {
            Some(error) => error.is_internal(),
            None => error.downcast_ref().is_some_and(BackendError::is_internal),
        };
        if internal { Exit::InternalError } else { Exit::UserError }
    }
}
