//! `hl-train`'s command line: what was typed, and what it means.
#![allow(clippy::print_stdout)] // Results of commands are data on stdout.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::Table;
use hyperloader_core::method::Method;
use hyperloader_core::run::Run;
use hyperloader_core::t5::T5Config;

use crate::config::Config;
use crate::evaluate::Evaluation;
use crate::params::{ParameterCount, count};
use crate::progress::{Progress, Verbosity};
use crate::train::{Outcome, Training};

/// Train a multi-task T5 tagger: HyperLoader and its baselines
#[derive(Debug, Parser)]
#[command(name = "hl-train", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: TrainArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count trainable and total parameters of a method
    Params(ParamsArguments),
}

#[derive(Debug, Args)]
struct TrainArguments {
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

#[derive(Debug, Args)]
struct ParamsArguments {
    /// Shape of a published checkpoint, such as `t5-base`
    #[arg(long, value_name = "NAME", default_value = "t5-base")]
    backbone_preset: String,
    /// `hyperloader` or `hyperformer++`
    #[arg(long, default_value = "hyperloader")]
    method: MethodArgument,
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 7)]
    tasks: u32,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Clone)]
struct MethodArgument(Method);

impl std::str::FromStr for MethodArgument {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Method::ALL.map(Method::name);
        Method::ALL.into_iter().find(|m| m.name() == name).map(Self).ok_or_else(|| {
            let list = known.map(|n| format!("`{n}`")).join(", ");
            format!("expected one of {list}{}", hyperloader_core::suggest::hint(name, known))
        })
    }
}

/// Runs what was asked for.
///
/// # Errors
/// Whatever made it impossible, to be shown to the user.
pub fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Params(arguments)) => params(&arguments),
        None => train(arguments.train),
    }
}

fn params(arguments: &ParamsArguments) -> Result<()> {
    let t5 = T5Config::preset(&arguments.backbone_preset)?;
    let tasks: Vec<String> = (1..=arguments.tasks).map(|n| format!("task-{n}")).collect();
    let method = arguments.method.0.preset();
    method.validate(&t5, &tasks)?;
    let counted = count(&method, &t5, &tasks);
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&counted)?),
        OutputFormat::Text => {
            let ParameterCount { trainable, total, ratio } = counted;
            println!("trainable  {trainable}\ntotal      {total}\nratio      {:.4} %", 100.0 * ratio);
        }
    }
    Ok(())
}

fn train(arguments: TrainArguments) -> Result<()> {
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

/// Whether an error is the user's to mend: all but a model that failed on valid input.
pub fn is_users_error(error: &anyhow::Error) -> bool {
    use crate::train::TrainError;
    !matches!(error.downcast_ref::<TrainError>(), Some(TrainError::Model(_) | TrainError::Evaluation(_)))
}
