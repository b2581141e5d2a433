//! `hl-train report`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyperloader_core::run::{Candidates, Run};

use crate::report;

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The run's folder [default: the newest under `--runs`]
    run: Option<PathBuf>,
    /// Where runs are looked for
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "run")]
    runs: PathBuf,
}

pub(super) fn run(arguments: &ReportArguments) -> Result<()> {
    let folder = match &arguments.run {
        Some(folder) => folder.clone(),
        None => Run::newest(&arguments.runs, Candidates::Trained)?.folder,
    };
    println!("{}", report::write(&folder)?.display());
    Ok(())
}
