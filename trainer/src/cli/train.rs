//! A bare `hl-train`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;
use hyperloader_core::run::Run;

use super::OutputFormat;
use crate::config::Config;
use crate::evaluate::Evaluation;
use crate::progress::{Progress, Verbosity};
use crate::train::{Outcome, Training};

#[derive(Debug, Args)]
pub(super) struct TrainArguments {
    /// Configuration; paths in it are relative to its folder
    #[arg(long, value_name = "FILE", default_value = "hyperloader.toml")]
    config: PathBuf,
    /// Name of the run [default: the method's name and a number]
    #[arg(long)]
    name: Option<String>,
    /// Folder of all runs [default: `runs` beside the configuration]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Pretrained T5 in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    backbone: Option<PathBuf>,
    /// Updates
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Sentences of a step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Updates between two evaluations
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,
    /// Seed of initialisation, sampling and dropout
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// `auto`, `cpu` or `cuda[:N]`
    #[arg(long)]
    device: Option<String>,
    /// Threads of one operation
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Start from the best checkpoint of this run (same backbone, method and tasks)
    #[arg(long, value_name = "RUN")]
    warm_start: Option<PathBuf>,
    /// Form of the final scores on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
    /// Print nothing but errors and the final scores
    #[arg(long, short)]
    quiet: bool,
    /// Print lines in place of the progress bar
    #[arg(long)]
    no_progress: bool,
}

pub(super) fn run(arguments: TrainArguments) -> Result<()> {
    let mut config = Config::from_file(&arguments.config)?;
    override_config(&mut config, &arguments);
    let warm_start = arguments
        .warm_start
        .as_deref()
        .map(Run::open)
        .transpose()
        .context("cannot start from `--warm-start`")?;
    let verbosity = if arguments.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let bar = !arguments.no_progress && std::io::stderr().is_terminal();
    let mut progress = Progress::new(config.training.steps, verbosity, bar);
    let outcome = Training::prepare(config, warm_start.as_ref())?.run(&mut progress)?;
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&outcome)?),
        OutputFormat::Text => println!("{}", scores(&outcome)),
    }
    Ok(())
}

fn override_config(config: &mut Config, arguments: &TrainArguments) {
    fn put<T: Clone>(target: &mut T, typed: &Option<T>) {
        if let Some(value) = typed {
            *target = value.clone();
        }
    }
    put(&mut config.runs, &arguments.runs);
    put(&mut config.backbone.path, &arguments.backbone);
    put(&mut config.seed, &arguments.seed);
    put(&mut config.training.steps, &arguments.steps);
    put(&mut config.training.batch_size, &arguments.batch_size);
    put(&mut config.training.learning_rate, &arguments.learning_rate);
    put(&mut config.training.evaluate_every, &arguments.evaluate_every);
    put(&mut config.training.device, &arguments.device);
    config.name = arguments.name.clone().or(config.name.take());
    config.training.threads = arguments.threads.or(config.training.threads);
}

fn scores(outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["task", "validation loss", "validation F1", "test F1"]);
    for (task, Evaluation { loss, f1, .. }) in &outcome.validation {
        let test = outcome.test.get(task).map_or("-".to_owned(), |t| format!("{:.4}", t.f1));
        table.add_row([task.clone(), format!("{loss:.4}"), format!("{f1:.4}"), test]);
    }
    let Outcome { run, best_step, train_seconds, .. } = outcome;
    format!(
        "run `{}`, best checkpoint at step {best_step}, {train_seconds:.0} s of training\n{table}",
        run.display()
    )
}
