//! `hl-train`'s command line: what was typed, and what it means.
#![allow(clippy::print_stdout)] // Results of commands are data on stdout.

mod params;
mod train;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

/// Train a multi-task T5 tagger: HyperLoader and its baselines
#[derive(Debug, Parser)]
#[command(name = "hl-train", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: train::TrainArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count trainable and total parameters of a method
    Params(params::ParamsArguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs what was asked for.
///
/// # Errors
/// Whatever made it impossible, to be shown to the user.
pub fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Params(arguments)) => params::run(&arguments),
        None => train::run(arguments.train),
    }
}

/// Whether an error is the user's to mend: all but a model that failed on valid input.
pub fn is_users_error(error: &anyhow::Error) -> bool {
    use crate::train::TrainError;
    !matches!(error.downcast_ref::<TrainError>(), Some(TrainError::Model(_) | TrainError::Evaluation(_)))
}
