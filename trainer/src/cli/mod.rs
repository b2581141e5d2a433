//! `hl-train`'s command line: what was typed, and what it means.
#![allow(clippy::print_stdout)] // Results of commands are data on stdout.

mod compare;
mod corpora;
mod drafter;
mod fetch;
mod job;
mod params;
mod report;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use hyperloader_core::corpus::{LabelPreset, Labels};
use hyperloader_core::method::{bert_variants, variants};

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
    /// Train methods on fractions with seeds, and write the paper's tables of them
    Compare(compare::CompareArguments),
    /// Count what the corpora hold: sentences, labels, lengths, what exceeds the limits
    Corpora(corpora::CorporaArguments),
    /// Count trainable and total parameters of a method
    Params(params::ParamsArguments),
    /// Fit the drafters of a run again: they make `hl-run` faster and change no tag
    Drafter(drafter::DrafterArguments),
    /// Write the page and the plots of a run again, or of one that was cut
    Report(report::ReportArguments),
}

/// Names of all methods and their variants, for help, errors and completion.
fn method_names() -> PossibleValuesParser {
    PossibleValuesParser::new(variants().into_iter().chain(bert_variants()).map(|variant| variant.name))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LabelsArgument {
    /// As distributed, but for mTOP and mTOD
    Keep,
    /// Lower case, mTOP without `SL:`, mTOD up to `/`
    Plain,
    /// What the paper's authors trained on, as far as their losses show
    Reference,
}

impl From<LabelsArgument> for Labels {
    fn from(argument: LabelsArgument) -> Self {
        Self::Preset(match argument {
            LabelsArgument::Keep => LabelPreset::Keep,
            LabelsArgument::Plain => LabelPreset::Plain,
            LabelsArgument::Reference => LabelPreset::Reference,
        })
    }
}

/// Runs what was asked for; gives the program's exit code.
///
/// # Errors
/// Whatever made it impossible, to be shown to the user.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Some(Command::Compare(arguments)) => compare::run(&arguments),
        Some(Command::Corpora(arguments)) => corpora::run(&arguments),
        Some(Command::Params(arguments)) => params::run(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Drafter(arguments)) => drafter::run(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Report(arguments)) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        None => train::run(arguments.train),
    }
}

/// Whether an error is the user's to mend: all but a model that failed on valid input.
pub fn is_users_error(error: &anyhow::Error) -> bool {
    use crate::compare::CompareError;
    use crate::train::TrainError;
    let training = match error.downcast_ref::<CompareError>() {
        Some(CompareError::Train(error)) => Some(error),
        _ => error.downcast_ref::<TrainError>(),
    };
    !matches!(training, Some(TrainError::Model(_) | TrainError::Evaluation(_)))
}
