//! Writes a run of random numbers on a backbone of random numbers, to time exports of any size.
//!
//! ```text
//! $ cargo run --release --package hyperloader-exporter --example random_run -- t5-base /tmp/t5-base
//! 222903552 parameters in `/tmp/t5-base/backbone`, a run of mtop in `/tmp/t5-base/runs`
//! ```

#![allow(clippy::print_stderr)]

#[path = "../../tests/common/random_run.rs"]
mod random_run;
mod sparse;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{MethodConfig, variant};

/// Write a run of random numbers on a backbone of random numbers
#[derive(Debug, Parser)]
#[command(name = "random_run")]
struct Args {
    /// The published T5 whose dimensions are taken, or a `config.json`
    preset: String,

    /// Where to write `backbone` and `runs`
    folder: PathBuf,

    /// A variant of a method; `hyperloader` by default
    method: Option<String>,

    /// Number of tasks: `mtop`, `task1`, `task2`, ...
    #[arg(long, default_value_t = 1)]
    tasks: usize,

    /// Leave all but the first rows of most matrices zero, as a hole of the file, which takes no disk
    #[arg(long)]
    sparse: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let t5 = match args.preset.ends_with(".json") {
        true => T5Config::from_file(Path::new(&args.preset))?,
        false => T5Config::preset(&args.preset)?,
    };
    let method = match &args.method {
        Some(name) => variant(name).with_context(|| format!("no method `{name}`"))?,
        None => MethodConfig::default(),
    };
    let name = |task| if task == 0 { "mtop".to_owned() } else { format!("task{task}") };
    let tasks: Vec<String> = (0..args.tasks).map(name).collect();
    let names: Vec<&str> = tasks.iter().map(String::as_str).collect();
    match args.sparse {
        true => sparse::write(&args.folder, &t5, &method, &names)?,
        false => drop(random_run::write(&args.folder, &t5, &method, &names)),
    }
    let parameters: usize = t5.tensors().values().map(|shape| shape.iter().product::<usize>()).sum();

    let (folder, tasks) = (args.folder.display(), names.join(", "));
    eprintln!("{parameters} parameters in `{folder}/backbone`, a run of {tasks} in `{folder}/runs`");
    Ok(())
}
