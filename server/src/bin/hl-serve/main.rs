//! `hl-serve`: serves exported taggers over HTTP.
//!
//! - [`check`]: `hl-serve --check`
//! - [`log`]: the log on stderr
//! - [`ready`]: `hl-serve --ready`
//! - [`run`]: the server and its signals

mod args;
mod check;
mod log;
mod open_files;
mod ready;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use hyperloader_cli::{CommonArgs, Console, Exit, Program};
use hyperloader_server::{OPENAPI, ServeError};

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
        if let Some(address) = self.serve.ready {
            ready::run(address)?;
            return Ok(Exit::Success);
        }
        match self.command {
            Some(Command::Openapi) => console.print_data(OPENAPI.as_bytes())?,
            Some(Command::Documents(documents)) => documents.print::<Self>(console)?,
            None if self.serve.check => check::run(&self.serve, console)?,
            None => return run::run(&self.serve, self.common.quiet),
        }
        Ok(Exit::Success)
    }

    /// A backend that fails on a valid file is not the user's error.
    fn classify(error: &anyhow::Error) -> Exit {
        match error.downcast_ref().is_some_and(ServeError::is_internal) {
            true => Exit::InternalError,
            false => Exit::UserError,
        }
    }
}
