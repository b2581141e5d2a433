//! `hl-train compare`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use hyperloader_cli::{CommonArgs, Console, Exit, stop_on_interrupt};
use hyperloader_core::corpus::known;
use hyperloader_trainer::compare::{self, Cell, CellEnd, Plan, Results, Scores};
use hyperloader_trainer::train::Training;

use crate::compare_args::CompareArgs;
use crate::job::RunEnd;
use crate::progress::Progress;
use crate::{exit_of, fetch, is_stopped, job};

pub(crate) fn run(args: &CompareArgs, console: &Console, common: CommonArgs) -> Result<Exit> {
    if args.no_progress {
        console.hide_bars();
    }
    let corpora = args.data.as_deref().map(known::in_folder).transpose()?;
    let mut plan = Plan::from_file(&args.config, corpora)?;
    plan.run_on(args.compute.device, args.compute.threads);
    if let Some(name) = &args.job {
        return run_job(&plan, name, args, console);
    }
    plan.warnings.iter().for_each(|warning| console.warn(warning));
    let end = if args.only_tables {
        plan.claim()?;
        AllEnd::Done(Vec::new())
    } else {
        plan.known_methods()?;
        train_all(&plan, args, console, common)?
    };
    let failed = match end {
        AllEnd::Stopped => return Ok(Exit::Interrupted),
        AllEnd::Done(failed) => failed,
    };
    let report = compare::write(&Results::read(&plan)?)?;
    console.record(args.format.output_format, &report, || report.markdown.trim_end().to_owned())?;
    console.note(format_args!("tables and figure: `{}`", plan.out.display()));
    if !failed.is_empty() {
        let (count, names) = (failed.len(), failed.join("; "));
        bail!("{count} of {} runs failed: {names}\nhint: the same command tries them again", report.runs);
    }
    Ok(Exit::Success)
}

/// How the runs of a comparison ended.
enum AllEnd {
    /// All runs were tried; these failed.
    Done(Vec<String>),
    /// Ctrl-C was pressed.
    Stopped,
}

fn train_all(plan: &Plan, args: &CompareArgs, console: &Console, common: CommonArgs) -> Result<AllEnd> {
    let cells = plan.cells();
    let left: VecDeque<(usize, &Cell)> =
        cells.iter().enumerate().filter(|(_, cell)| !cell.is_done(&plan.out)).collect();
    let done = cells.len() - left.len();
    console.note(format_args!("{} runs, {done} of them done", cells.len()));
    let stop = stop_on_interrupt()?;
    check(plan, &left, console)?;
    plan.claim()?;
    let (left, failed) = (Mutex::new(left), Mutex::new(Vec::new()));
    let work = |train: &dyn Fn(&Cell) -> RunEnd| {
        while !stop.load(Relaxed) {
            let Some((number, cell)) = lock(&left).pop_front() else { return };
            console.note(format_args!("run {} of {}: {cell}", number + 1, cells.len()));
            match train(cell) {
                RunEnd::Done => {}
                RunEnd::Failed => lock(&failed).push(cell.to_string()),
                RunEnd::Stopped => stop.store(true, Relaxed),
            }
        }
    };
    match usize::from(args.jobs) {
        1 => work(&|cell| train(plan, cell, console, stop)),
        jobs => std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| work(&|cell| job::train(cell, args, console, common, stop)));
            }
        }),
    }
    if stop.load(Relaxed) {
        console.note("stopped, all runs are saved\nhint: the same command continues");
        return Ok(AllEnd::Stopped);
    }
    Ok(AllEnd::Done(lock(&failed).clone()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No operation under the lock can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks before the first run that each method can be trained.
fn check(plan: &Plan, left: &VecDeque<(usize, &Cell)>, console: &Console) -> Result<()> {
    let mut seen = BTreeSet::new();
    // The smallest fraction comes first.
    for (_, cell) in left.iter().filter(|(_, cell)| seen.insert(&cell.method.label)) {
        let config = cell.config(&plan.out);
        fetch::locate(&config.backbone, console)?;
        Training::check(&config, &mut Progress::new(0, console)).with_context(|| cell.to_string())?;
    }
    Ok(())
}

fn train(plan: &Plan, cell: &Cell, console: &Console, stop: &AtomicBool) -> RunEnd {
    let steps = cell.method.config.training.steps;
    let mut progress = Progress::new(steps, console);
    let end = cell.run(&plan.out, &mut progress, stop);
    progress.finish();
    match end {
        Ok(CellEnd::Done(scores)) => {
            console.note(format_args!("{cell}: {}", summary(&scores)));
            RunEnd::Done
        }
        Ok(CellEnd::Stopped { .. }) => RunEnd::Stopped,
        Err(error) if is_stopped(&error) => RunEnd::Stopped,
        // The other runs go on.
        Err(error) => {
            console.error_at(&cell.to_string(), &error, exit_of(&error));
            RunEnd::Failed
        }
    }
}

/// `--job`: trains one run for the process that waits for this one.
fn run_job(plan: &Plan, name: &str, args: &CompareArgs, console: &Console) -> Result<Exit> {
    let cells = plan.cells();
    let cell = cells.iter().find(|cell| job::name(cell) == name);
    let cell = cell.with_context(|| format!("`{}` has no run `{name}`", args.config.display()))?;
    let stop = stop_on_interrupt()?;
    job::stop_with_parent(stop);
    Ok(match train(plan, cell, console, stop) {
        // The error is printed, and the console keeps its exit code.
        RunEnd::Done | RunEnd::Failed => Exit::Success,
        RunEnd::Stopped => Exit::Interrupted,
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
