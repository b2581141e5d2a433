//! `hl-train`: trains multi-task taggers.
//!
//! - [`args`]: the command line
//! - [`shared`]: options that several commands share
//! - [`config_args`]: options that make a configuration
//! - [`compare_args`]: options of `hl-train compare`
//! - [`train`]: plain `hl-train`
//! - [`compare`], [`corpora`], [`init`], [`params`], [`drafter`], [`calibrate`], [`report`]: a file for each command
//! - [`tune`]: the search for a learning rate
//! - [`show`]: sentences of corpora as they are read
//! - [`job`]: a run of `hl-train compare --jobs N` in a process of its own
//! - [`processes`]: several processes under `mpirun`
//! - [`watch`]: the curves of a run, drawn by [`chart`]
//! - [`fetch`], [`streams`], [`progress`]: progress bars and log lines; [`forecast`]: how long a training will take

mod args;
mod calibrate;
mod chart;
mod compare;
mod compare_args;
mod config_args;
mod corpora;
mod drafter;
mod fetch;
mod forecast;
mod init;
mod job;
mod params;
mod processes;
mod progress;
mod report;
mod shared;
mod show;
mod streams;
mod train;
mod tune;
mod watch;

use std::error::Error;
use std::process::ExitCode;

use anyhow::Result;
use hyperloader_cli::{CommonArgs, Console, Exit, Program};
use hyperloader_trainer::compare::CompareError;
use hyperloader_trainer::data::DataError;
use hyperloader_trainer::train::TrainError;
use hyperloader_trainer::tune::TuneError;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    hyperloader_cli::main::<Args>()
}

impl Program for Args {
    /// cuBLAS adds numbers in one fixed order only with a workspace of fixed size. The size is libtorch's default.
    const VARIABLES: &'static [(&'static str, &'static str)] = &[("CUBLAS_WORKSPACE_CONFIG", ":4096:8")];

    fn common(&self) -> CommonArgs {
        self.common
    }

    fn run(self, console: &Console) -> Result<Exit> {
        match self.carry_out(console) {
            Err(error) if is_stopped(error.as_ref()) => {
                // Not the cell of a comparison in which it was read.
                console.note(error.root_cause());
                Ok(Exit::Interrupted)
            }
            end => end,
        }
    }

    fn classify(error: &anyhow::Error) -> Exit {
        exit_of(error.as_ref())
    }
}

impl Args {
    fn carry_out(self, console: &Console) -> Result<Exit> {
        let Some(command) = self.command else { return train::run(&self.train, console, self.common) };
        processes::alone(|| match command {
            Command::Compare(args) => compare::run(&args, console, self.common),
            Command::Tune(args) => tune::run(&args, console),
            Command::Corpora(args) => corpora::run(&args, console).map(|()| Exit::Success),
            Command::Init(args) => init::run(&args, console).map(|()| Exit::Success),
            Command::Params(args) => params::run(&args, console).map(|()| Exit::Success),
            Command::Drafter(args) => drafter::run(&args, console).map(|()| Exit::Success),
            Command::Calibrate(args) => calibrate::run(&args, console).map(|()| Exit::Success),
            Command::Report(args) => report::run(&args, console).map(|()| Exit::Success),
            Command::Watch(args) => watch::run(&args, console),
            Command::Documents(documents) => documents.print::<Self>(console).map(|()| Exit::Success),
        })
    }
}

/// Who can correct an error.
fn exit_of(error: &(dyn Error + 'static)) -> Exit {
    if in_chain(error, TrainError::is_internal) { Exit::InternalError } else { Exit::UserError }
}

/// Whether the error is that Ctrl-C ended the reading of a streamed task.
fn is_stopped(error: &(dyn Error + 'static)) -> bool {
    in_chain(error, |error| matches!(error, TrainError::Data(DataError::Stopped { .. })))
}

/// Whether a training failed in a way for which `holds` is true.
fn in_chain(error: &(dyn Error + 'static), holds: impl Fn(&TrainError) -> bool) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        let train = match error.downcast_ref() {
            Some(CompareError::Train(error)) => Some(error),
            _ => match error.downcast_ref() {
                Some(TuneError::Train(error)) => Some(error),
                _ => error.downcast_ref(),
            },
        };
        train.is_some_and(&holds)
    })
}
