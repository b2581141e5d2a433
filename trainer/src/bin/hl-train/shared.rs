//! Options that several commands of `hl-train` share.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hyperloader_cli::choices;
use hyperloader_core::corpus::LabelPreset;
use hyperloader_core::device::Device;
use hyperloader_core::method::variants;
use hyperloader_core::run::{Candidates, Run};
use hyperloader_trainer::config::{Config, TrainingConfig};
use hyperloader_trainer::train::CONFIG;

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
    /// The folder of the run, which is the newest of `candidates` if none is named.
    pub(crate) fn folder(&self, candidates: Candidates) -> Result<PathBuf> {
        Ok(match &self.run {
            Some(folder) => folder.clone(),
            None => Run::newest(&self.runs, candidates)?.folder,
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
