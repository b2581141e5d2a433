//! A bare `hl-train`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;
use hyperloader_core::corpus::{Labels, known};
use hyperloader_core::method::variant;
use hyperloader_core::run::{Candidates, Run};

use super::{LabelsArgument, OutputFormat, fetch, method_names};
use crate::config::Config;
use crate::evaluate::Evaluation;
use crate::progress::{Progress, Verbosity};
use crate::report;
use crate::train::{CONFIG, End, Outcome, Training};

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
    /// Pretrained T5: a folder in Hugging Face's layout, or else a model of its hub, such as `t5-base`
    #[arg(long, value_name = "DIR|ID")]
    backbone: Option<String>,
    /// Train this method with its published hyper-parameters, in place of the configuration's `[method]`
    #[arg(long, value_name = "NAME", value_parser = method_names())]
    method: Option<String>,
    /// Set a hyper-parameter of the method, such as `reduction_factor=8` or `lora.rank=4`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    method_option: Vec<String>,
    /// Train on the paper's corpora in this folder, in place of the configuration's tasks
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only these tasks
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    tasks: Vec<String>,
    /// Which labels all tasks learn [default: as configured; with `--data`, the preset's or `plain`]
    #[arg(long, value_name = "PRESET")]
    labels: Option<LabelsArgument>,
    /// Share of the training and validation sentences that is used, such as 0.1
    #[arg(long, value_name = "SHARE")]
    fraction: Option<f64>,
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
    /// Equal runs on one GPU give equal bits, at some cost in speed; on the CPU they always do
    #[arg(long)]
    deterministic: bool,
    /// Threads of one operation
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Start from the best checkpoint of this run (same backbone, method and tasks)
    #[arg(long, value_name = "RUN")]
    warm_start: Option<PathBuf>,
    /// Go on with a run that was cut, exactly as it would have gone [default: the newest]
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        conflicts_with_all = [
            "name", "backbone", "method", "method_option", "data", "tasks", "labels", "fraction", "steps", "batch_size", "learning_rate", "evaluate_every", "seed", "deterministic", "warm_start"
        ]
    )]
    resume: Option<Option<PathBuf>>,
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

impl TrainArguments {
    /// How much is said, and whether by a bar.
    fn progress(&self) -> (Verbosity, bool) {
        let verbosity = if self.quiet { Verbosity::Quiet } else { Verbosity::Normal };
        (verbosity, !self.no_progress && std::io::stderr().is_terminal())
    }
}

pub(super) fn run(arguments: TrainArguments) -> Result<ExitCode> {
    let training = match &arguments.resume {
        Some(run) => resume(&arguments, run.as_deref())?,
        None => start(&arguments)?,
    };
    let (verbosity, bar) = arguments.progress();
    let mut progress = Progress::new(training.config().training.steps, verbosity, bar);
    let end = training.run(&mut progress, stop_on_interrupt()?);
    progress.finish();
    let outcome = match end? {
        End::Finished(outcome) => outcome,
        End::Stopped { run, step } => {
            progress.stopped(&run, step);
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&outcome.without_details())?),
        OutputFormat::Text => println!("{}", scores(&outcome)),
    }
    progress.reported(&report::write(&outcome.run)?);
    Ok(ExitCode::SUCCESS)
}

/// What shells report for a program that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

fn start(arguments: &TrainArguments) -> Result<Training> {
    let mut config = Config::from_file(&arguments.config)?;
    override_config(&mut config, arguments);
    if let Some(backbone) = &arguments.backbone {
        config.backbone.choose(backbone)?;
    }
    choose_method(&mut config, arguments)?;
    choose_tasks(&mut config, arguments)?;
    let warm_start = arguments
        .warm_start
        .as_deref()
        .map(Run::open)
        .transpose()
        .context("cannot start from `--warm-start`")?;
    config.validate()?;
    let (verbosity, bar) = arguments.progress();
    fetch::locate(&config.backbone, verbosity, bar)?;
    Ok(Training::prepare(config, warm_start.as_ref())?)
}

fn resume(arguments: &TrainArguments, run: Option<&Path>) -> Result<Training> {
    let run = match (run, &arguments.runs) {
        (Some(run), _) => Run::open(run)?,
        (None, Some(runs)) => Run::newest(runs, Candidates::Any)?,
        (None, None) => Run::newest(&Config::from_file(&arguments.config)?.runs, Candidates::Any)?,
    };
    let mut config = Config::from_file(&run.folder.join(CONFIG))?;
    if let Some(device) = &arguments.device {
        config.training.device.clone_from(device);
    }
    config.training.threads = arguments.threads.or(config.training.threads);
    Ok(Training::resume(config, run)?)
}

/// True once Ctrl-C was pressed or the program was asked to end; the second time it ends at once.
#[allow(clippy::exit)] // Whoever asks twice does not want to wait for the loop.
pub(super) fn stop_on_interrupt() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(&STOP)
}

fn choose_method(config: &mut Config, arguments: &TrainArguments) -> Result<()> {
    if let Some(method) = arguments.method.as_deref().and_then(variant) {
        config.method = method;
    }
    for option in &arguments.method_option {
        config.set_method_option(option)?;
    }
    Ok(())
}

fn choose_tasks(config: &mut Config, arguments: &TrainArguments) -> Result<()> {
    if let Some(folder) = &arguments.data {
        config.tasks = known::in_folder(folder)?.into_iter().collect();
        if let Some(preset) = config.preset {
            let labels = Labels::Preset(preset.labels());
            config.tasks.values_mut().for_each(|spec| spec.labels = labels.clone());
        }
    }
    if !arguments.tasks.is_empty() {
        config.keep_tasks(&arguments.tasks)?;
    }
    if let Some(labels) = arguments.labels {
        config.tasks.values_mut().for_each(|spec| spec.labels = labels.into());
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
    put(&mut config.seed, &arguments.seed);
    put(&mut config.training.fraction, &arguments.fraction);
    put(&mut config.training.steps, &arguments.steps);
    put(&mut config.training.batch_size, &arguments.batch_size);
    put(&mut config.training.learning_rate, &arguments.learning_rate);
    put(&mut config.training.evaluate_every, &arguments.evaluate_every);
    put(&mut config.training.device, &arguments.device);
    config.training.deterministic |= arguments.deterministic;
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
