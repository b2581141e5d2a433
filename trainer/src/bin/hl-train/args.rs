//! The command line of `hl-train`, and options that several commands share.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use hyperloader_cli::{CommonArgs, Documents, choices};
use hyperloader_core::corpus::LabelPreset;
use hyperloader_core::device::Device;
use hyperloader_core::method::variants;
use hyperloader_core::run::{Candidates, Run};
use hyperloader_trainer::config::{Config, TrainingConfig};
use hyperloader_trainer::train::CONFIG;

use crate::{compare, corpora, drafter, params, report, train};

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
    hl-train --data data --method lora --method-option rank=4
  Continue the newest run after an interruption:
    hl-train --resume

Exit codes:
  0    Done
  1    An error in the configuration, the data, the command line or the machine
  2    An error in hl-train or in libtorch
  130  Interrupted by Ctrl-C; the run is saved";

/// What `hl-train` can do besides training.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train several methods, fractions and seeds, and write the paper's tables
    Compare(compare::CompareArgs),
    /// Count the sentences, labels and lengths of corpora
    Corpora(corpora::CorporaArgs),
    /// Count the trainable and total parameters of a method
    Params(params::ParamsArgs),
    /// Fit the drafters of a run again
    Drafter(drafter::DrafterArgs),
    /// Write the report of a run again
    Report(report::ReportArgs),
    #[command(flatten)]
    Documents(Documents),
}

/// The run that a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Folder of the run [default: the newest run in the folder of `--runs`]
    run: Option<PathBuf>,

    /// Folder in which runs are searched for
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "run")]
    runs: PathBuf,
}

impl RunArgs {
    /// The run's folder.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        Ok(match &self.run {
            Some(folder) => folder.clone(),
            None => Run::newest(&self.runs, Candidates::Trained)?.folder,
        })
    }
}

/// What the model is computed with.
#[derive(Debug, clap::Args)]
pub(crate) struct ComputeArgs {
    /// Device: `auto`, `cpu`, `cuda` or `cuda:N` [default: the configuration's]
    ///
    /// `auto` is the first GPU if there is one, else the CPU.
    #[arg(long)]
    pub(crate) device: Option<Device>,

    /// Threads of one operation [default: the configuration's, else all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

impl ComputeArgs {
    /// Overrides the configuration with what was typed.
    pub(crate) fn apply(&self, training: &mut TrainingConfig) {
        if let Some(device) = self.device {
            training.device = device;
        }
        training.threads = self.threads.or(training.threads);
    }

    /// The configuration of an existing run, on this device.
    pub(crate) fn config_of(&self, run: &Run) -> Result<Config> {
        let mut config = Config::from_file(&run.folder.join(CONFIG))?;
        self.apply(&mut config.training);
        Ok(config)
    }
}

/// Names of all methods and their variants, for help, errors and completion.
pub(crate) fn method_names() -> PossibleValuesParser {
    PossibleValuesParser::new(variants().into_iter().map(|variant| variant.name))
}

/// Names of the label presets.
pub(crate) fn label_presets() -> impl TypedValueParser<Value = LabelPreset> {
    const PRESETS: [(LabelPreset, &str, &str); 3] = [
        (LabelPreset::Keep, "keep", "As distributed, but for mTOP and mTOD"),
        (LabelPreset::Plain, "plain", "Lower case; mTOP without `SL:`, mTOD up to the first `/`"),
        (
            LabelPreset::Reference,
            "reference",
            "The labels of the paper's authors, as far as their losses show",
        ),
    ];
    choices(&PRESETS)
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
    fn options_of_training_belong_to_plain_hl_train() {
        assert!(Args::try_parse_from(["hl-train", "--steps", "3"]).is_ok());
        assert!(Args::try_parse_from(["hl-train", "corpora", "--color", "never"]).is_ok());
        assert!(Args::try_parse_from(["hl-train", "--steps", "3", "corpora"]).is_err());
    }
}
