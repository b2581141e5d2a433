//! Options of `hl-train compare`.

use std::path::PathBuf;

use clap::Args;
use hyperloader_cli::FormatArgs;

use crate::shared::{ComputeArgs, known_corpora};

/// Train several methods, fractions and seeds, and write the paper's tables
///
/// Trains each combination that has no scores yet, then writes tables and a figure into the folder `out` of the
/// comparison, and prints the tables. After an interruption, the same command continues.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  Train the runs of `compare.toml`, two at a time:
    hl-train compare --jobs 2
  Print the tables of the runs that are finished:
    hl-train compare --only-tables")]
pub(crate) struct CompareArgs {
    /// Methods, fractions and seeds; its paths are relative to its folder
    #[arg(long, value_name = "FILE", default_value = "compare.toml")]
    pub(crate) config: PathBuf,

    /// Folder of the paper's corpora to train on [default: the tasks of the comparison's base]
    #[arg(long, value_name = "DIR", value_parser = known_corpora())]
    pub(crate) data: Option<PathBuf>,

    /// Train nothing: write the tables of the finished runs
    #[arg(long)]
    pub(crate) only_tables: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    /// Number of runs that are trained at the same time, each in its own process with its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,

    /// Train this one run, and stop when stdin ends
    #[arg(long, value_name = "METHOD/FRACTION/SEED", hide = true)]
    pub(crate) job: Option<String>,

    #[command(flatten)]
    pub(crate) format: FormatArgs,

    /// Print log lines instead of a progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}
