//! `hl-train tune`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, Exit, FormatArgs, stop_on_interrupt};
use hyperloader_core::files::check_output_folder;
use hyperloader_trainer::report;
use hyperloader_trainer::tune::{Best, Job, JobEnd, Measured, Report, Search};

use crate::config_args::{ConfigArgs, put};
use crate::fetch;
use crate::progress::Progress;
use crate::shared::ComputeArgs;

/// Find the best learning rate of a training
///
/// Trains a run for each learning rate, and only the best of them to the end: after a part of the steps, the runs with
/// the highest mean validation F1 go on, with the learning rate that the whole training has at that step. Prints what
/// each run reached, and the path of the best run, which is trained completely. After an interruption, the same command
/// continues.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  Find the learning rate of LoRA for the tasks of `hyperloader.toml`:
    hl-train tune --method lora --name lora-rate
  Try four learning rates, of which the best quarter goes on:
    hl-train tune --learning-rates 1e-4,5e-4,2e-3,1e-2 --eta 4")]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Highest learning rates of the runs; the schedule and the warm-up are the configuration's
    #[arg(
        long,
        value_name = "RATE,...",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "1e-4,3e-4,1e-3,3e-3,1e-2"
    )]
    learning_rates: Vec<f64>,

    /// The best `1/N` of the runs go on, to `N` times the steps
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=1000))]
    eta: u32,

    /// Name of the search: a folder in the folder of all runs
    #[arg(long, default_value = "tune")]
    name: String,

    /// Folder of all runs [default: `runs` in the folder of the configuration]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    format: FormatArgs,

    /// Print log lines instead of a progress bar
    #[arg(long)]
    no_progress: bool,
}

pub(crate) fn run(args: &TuneArgs, console: &Console) -> Result<Exit> {
    if args.no_progress {
        console.hide_bars();
    }
    let mut search = prepare(args, console)?;
    if !train_all(&mut search, console)? {
        console.note("stopped, all runs are saved\nhint: the same command continues");
        return Ok(Exit::Interrupted);
    }
    let report = search.report();
    if let Some(best) = &report.best {
        report::write(&best.run)?;
    }
    console.record(args.format.output_format, &report, || text(&report))?;
    match report.best {
        Some(_) => Ok(Exit::Success),
        None => Err(search.failure().into()),
    }
}

/// The search with what an earlier command has measured. Its folder exists, and everything that it needs can be used.
fn prepare(args: &TuneArgs, console: &Console) -> Result<Search> {
    let mut config = args.config.read()?;
    put(&mut config.runs, &args.runs);
    args.compute.apply(&mut config.training);
    config.name = Some(args.name.clone());
    let mut search = Search::new(config.clone(), &args.learning_rates, args.eta as usize)?;
    search.resume()?;
    if search.next_job().is_none() {
        return Ok(search);
    }
    search.warnings().iter().for_each(|warning| console.warn(warning));
    check_output_folder(&config.runs)?;
    fetch::locate(&config.backbone, console)?;
    search.check(&mut Progress::new(0, console))?;
    search.create()?;
    Ok(search)
}

/// Trains until the search is over; false if it was asked to stop.
fn train_all(search: &mut Search, console: &Console) -> Result<bool> {
    let stop = stop_on_interrupt()?;
    while let Some(job) = search.next_job() {
        if stop.load(Relaxed) || !train(search, job, console, stop)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Trains a candidate to the end of a rung; false if it was asked to stop.
fn train(search: &mut Search, job: Job, console: &Console, stop: &AtomicBool) -> Result<bool> {
    let Job { rung, learning_rate: rate, place: (at, of) } = job;
    let (steps, rungs) = (search.rungs[rung].steps, search.rungs.len());
    console.note(format_args!(
        "rung {} of {rungs}, to step {steps}: learning rate {rate:e} ({at} of {of})",
        rung + 1
    ));
    let mut progress = Progress::new(steps, console);
    let end = search.train(job, &mut progress, stop);
    progress.finish();
    match end? {
        JobEnd::Stopped => return Ok(false),
        JobEnd::Measured(Measured::Diverged(reason)) => {
            console.warn(format_args!("learning rate {rate:e} is out: {reason}"));
        }
        JobEnd::Measured(Measured::Scores { validation_loss, validation_f1, .. }) => {
            console.note(format_args!(
                "learning rate {rate:e}: mean validation loss {validation_loss:.4}, F1 {validation_f1:.4}"
            ));
        }
    }
    Ok(true)
}

fn text(report: &Report) -> String {
    let mut text = report.markdown.clone();
    if let Some(Best { learning_rate, run, config }) = &report.best {
        text += &format!(
            "\nbest learning rate: {learning_rate:e}\nrun, trained to the last step: `{}`\nits configuration: `{}`\n",
            run.display(),
            config.display()
        );
    }
    text.trim_end().to_owned()
}
