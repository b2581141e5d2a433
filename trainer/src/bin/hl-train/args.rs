//! The command line of `hl-train`.

use clap::{Parser, Subcommand};
use hyperloader_cli::{CommonArgs, Documents};

use crate::{calibrate, compare_args, corpora, drafter, init, params, report, train, tune, watch};

/// Train a multi-task tagger: HyperLoader or one of its baselines
///
/// Without a command, hl-train trains the tasks of a configuration into a new folder in `runs/`. The scores go to stdout;
/// progress, warnings and errors go to stderr.
#[derive(Debug, Parser)]
#[command(
    name = "hl-train",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_long_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) train: train::TrainArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Train the tasks of `hyperloader.toml`:
    hl-train
  Train LoRA with rank 4 on the paper's corpora:
    hl-train --data data --method lora --method-option lora.rank=4 --learning-rate 1e-3
  Continue the newest run after an interruption:
    hl-train --resume

Exit codes:
  0    Done
  1    An error in the configuration, the data, the command line or the machine
  2    An error in hl-train or in libtorch
  130  Stopped by Ctrl-C or --max-hours; the run is saved";

/// What `hl-train` can do besides training.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train several methods, fractions and seeds, and write the paper's tables
    Compare(compare_args::CompareArgs),
    /// Find the best learning rate of a training
    Tune(Box<tune::TuneArgs>),
    /// Count the sentences, labels and lengths of corpora
    Corpora(corpora::CorporaArgs),
    /// Write a configuration for your own corpus
    Init(init::InitArgs),
    /// Count the trainable and total parameters of a method
    Params(params::ParamsArgs),
    /// Fit the drafters of a run again
    Drafter(drafter::DrafterArgs),
    /// Calibrate the scores of a run again
    Calibrate(calibrate::CalibrateArgs),
    /// Write the report of a run again
    Report(report::ReportArgs),
    /// Show the curves of a run in the terminal
    Watch(watch::WatchArgs),
    #[command(flatten)]
    Documents(Documents),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_a_command_line() {
        for example in hyperloader_cli::examples::examples::<Args>() {
            let parsed = Args::try_parse_from(&example);
            assert!(parsed.is_ok(), "{}: {}", example.join(" "), parsed.unwrap_err());
        }
    }

    #[test]
    fn options_of_training_belong_to_plain_hl_train() {
        assert!(Args::try_parse_from(["hl-train", "--steps", "3"]).is_ok());
        assert!(Args::try_parse_from(["hl-train", "corpora", "--color", "never"]).is_ok());
        assert!(Args::try_parse_from(["hl-train", "--steps", "3", "corpora"]).is_err());
    }
}
