//! `hl-train compare`.
#![allow(clippy::print_stderr)] // Progress goes to stderr.

use std::collections::{BTreeSet, VecDeque};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;
use hyperloader_core::corpus::known;

use super::train::{INTERRUPTED, stop_on_interrupt};
use super::{OutputFormat, fetch, job};
use crate::compare::{self, Cell, CellEnd, Plan, Results, Scores};
use crate::progress::{Progress, Verbosity};
use crate::train::Training;

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// Methods, fractions and seeds; paths in it are relative to its folder
    #[arg(long, value_name = "FILE", default_value = "compare.toml")]
    pub(super) config: PathBuf,
    /// Train on the paper's corpora in this folder, in place of the base's tasks
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Train nothing: write the tables of the runs that are there
    #[arg(long)]
    only_tables: bool,
    /// `auto`, `cpu` or `cuda[:N]`
    #[arg(long)]
    pub(super) device: Option<String>,
    /// Threads of one operation
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Runs at a time, each in a program of its own with its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) jobs: u8,
    /// Train this one run, and stop when stdin ends
    #[arg(long, value_name = "METHOD/FRACTION/SEED", hide = true)]
    job: Option<String>,
    /// Form of the tables on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
    /// Print nothing but errors and the tables
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Print lines in place of the progress bar
    #[arg(long)]
    no_progress: bool,
}

impl CompareArguments {
    fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }

    fn bar(&self) -> bool {
        !self.no_progress && std::io::stderr().is_terminal()
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }
}

pub(super) fn run(arguments: &CompareArguments) -> Result<ExitCode> {
    let corpora = arguments.data.as_deref().map(known::in_folder).transpose()?;
    let mut plan = Plan::from_file(&arguments.config, corpora)?;
    plan.run_on(arguments.device.as_deref(), arguments.threads);
    if let Some(name) = &arguments.job {
        return run_job(&plan, name, arguments);
    }
    plan.warnings.iter().for_each(|warning| arguments.say(&format!("warning: {warning}")));
    let end = if arguments.only_tables {
        plan.claim()?;
        AllEnd::Done(Vec::new())
    } else {
        plan.known_methods()?;
        train_all(&plan, arguments)?
    };
    let failed = match end {
        AllEnd::Stopped => return Ok(ExitCode::from(INTERRUPTED)),
        AllEnd::Done(failed) => failed,
    };
    let results = Results::read(&plan)?;
    let report = compare::write(&results)?;
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&report)?),
        OutputFormat::Text => print!("{}", report.markdown),
    }
    arguments.say(&format!("tables and figure: `{}`", plan.out.display()));
    if !failed.is_empty() {
        let (count, names) = (failed.len(), failed.join("; "));
        bail!("{count} of {} runs failed: {names}\nhint: the same command tries them again", report.runs);
    }
    Ok(ExitCode::SUCCESS)
}

/// How the runs of a comparison ended.
enum AllEnd {
    /// All that can be trained are; the others are named.
    Done(Vec<String>),
    /// Ctrl-C was pressed.
    Stopped,
}

/// How a run ended, for those that wait for it.
pub(super) enum RunEnd {
    Done,
    /// What was wrong is said already.
    Failed,
    Stopped,
}

fn train_all(plan: &Plan, arguments: &CompareArguments) -> Result<AllEnd> {
    let cells = plan.cells();
    let left: VecDeque<(usize, &Cell)> =
        cells.iter().enumerate().filter(|(_, cell)| !cell.is_done(&plan.out)).collect();
    let done = cells.len() - left.len();
    arguments.say(&format!("{} runs, {done} of them done", cells.len()));
    let stop = stop_on_interrupt()?;
    check(plan, &left, arguments)?;
    plan.claim()?;
    let (left, failed) = (Mutex::new(left), Mutex::new(Vec::new()));
    let work = |train: &dyn Fn(&Cell) -> RunEnd| {
        while !stop.load(Relaxed) {
            let Some((number, cell)) = lock(&left).pop_front() else { return };
            arguments.say(&format!("run {} of {}: {cell}", number + 1, cells.len()));
            match train(cell) {
                RunEnd::Done => {}
                RunEnd::Failed => lock(&failed).push(cell.to_string()),
                RunEnd::Stopped => stop.store(true, Relaxed),
            }
        }
    };
    match usize::from(arguments.jobs) {
        1 => work(&|cell| train(plan, cell, arguments, stop)),
        jobs => std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| work(&|cell| job::train(cell, arguments, stop)));
            }
        }),
    }
    if stop.load(Relaxed) {
        arguments.say("stopped, saved; the same command goes on");
        return Ok(AllEnd::Stopped);
    }
    Ok(AllEnd::Done(lock(&failed).clone()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked holds nothing half done here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds out before the first run whether there is one that cannot be trained.
fn check(plan: &Plan, left: &VecDeque<(usize, &Cell)>, arguments: &CompareArguments) -> Result<()> {
    let mut seen = BTreeSet::new();
    // The smallest fraction comes first.
    for (_, cell) in left.iter().filter(|(_, cell)| seen.insert(&cell.method.label)) {
        let config = cell.config(&plan.out);
        fetch::locate(&config.backbone, arguments.verbosity(), arguments.bar())?;
        Training::check(&config).with_context(|| cell.to_string())?;
    }
    Ok(())
}

fn train(plan: &Plan, cell: &Cell, arguments: &CompareArguments, stop: &AtomicBool) -> RunEnd {
    let steps = cell.method.config.training.steps;
    let mut progress = Progress::new(steps, arguments.verbosity(), arguments.bar());
    let end = cell.run(&plan.out, &mut progress, stop);
    progress.finish();
    match end {
        Ok(CellEnd::Done(scores)) => {
            arguments.say(&format!("{cell}: {}", summary(&scores)));
            RunEnd::Done
        }
        Ok(CellEnd::Stopped { .. }) => RunEnd::Stopped,
        // The other runs are as good as ever.
        Err(error) => {
            eprintln!("hl-train: error: {cell}: {error}");
            RunEnd::Failed
        }
    }
}

/// One run in a program of its own, for another program that waits for it.
fn run_job(plan: &Plan, name: &str, arguments: &CompareArguments) -> Result<ExitCode> {
    let cells = plan.cells();
    let cell = cells.iter().find(|cell| job::name(cell) == name);
    let cell = cell.with_context(|| format!("`{}` has no run `{name}`", arguments.config.display()))?;
    let stop = stop_on_interrupt()?;
    job::stop_with_parent(stop);
    Ok(match train(plan, cell, arguments, stop) {
        RunEnd::Done => ExitCode::SUCCESS,
        RunEnd::Failed => ExitCode::from(1),
        RunEnd::Stopped => ExitCode::from(INTERRUPTED),
    })
}

fn summary(scores: &Scores) -> String {
    let tasks: Vec<String> =
        scores.tasks.iter().map(|(task, scores)| format!("{task} {:.4}", scores.test_f1)).collect();
    format!(
        "test F1 {}, mean {:.4}; {:.0} s of training",
        tasks.join(", "),
        scores.mean_f1(),
        scores.train_seconds
    )
}
