//! `hl-train drafter`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyperloader_core::run::{Candidates, Run};

use crate::config::Config;
use crate::progress::{Progress, Verbosity};
use crate::train::{CONFIG, fit_drafters};

#[derive(Debug, Args)]
pub(super) struct DrafterArguments {
    /// The run's folder [default: the newest under `--runs`]
    run: Option<PathBuf>,
    /// Where runs are looked for
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "run")]
    runs: PathBuf,
    /// `auto`, `cpu` or `cuda[:N]`
    #[arg(long)]
    device: Option<String>,
    /// Threads of one operation
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(arguments: &DrafterArguments) -> Result<()> {
    let run = match &arguments.run {
        Some(folder) => Run::open(folder)?,
        None => Run::newest(&arguments.runs, Candidates::Trained)?,
    };
    let mut config = Config::from_file(&run.folder.join(CONFIG))?;
    if let Some(device) = &arguments.device {
        config.training.device.clone_from(device);
    }
    config.training.threads = arguments.threads.or(config.training.threads);
    let mut progress = Progress::new(0, Verbosity::Normal, false);
    let run = fit_drafters(config, run, &mut progress)?;
    println!("{}", run.folder.display());
    Ok(())
}
