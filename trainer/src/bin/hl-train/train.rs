//! Plain `hl-train`: trains, or continues a run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;
use hyperloader_cli::{CommonArgs, Console, Exit, FormatArgs, stop_on_interrupt};
use hyperloader_core::files::check_output_folder;
use hyperloader_core::run::{Candidates, Run};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::evaluate::Evaluation;
use hyperloader_trainer::parallel::Group;
use hyperloader_trainer::report;
use hyperloader_trainer::train::{End, Observer, Outcome, TrainError, Training, Unobserved};

use crate::config_args::{ConfigArgs, put};
use crate::fetch;
use crate::processes::together;
use crate::progress::{Limit, Progress};
use crate::shared::ComputeArgs;

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Name of the run [default: the method's name and a number]
    #[arg(long)]
    name: Option<String>,

    /// Folder of all runs [default: `runs` in the folder of the configuration]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,

    /// Highest learning rate [default: the configuration's]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,

    #[command(flatten)]
    compute: ComputeArgs,

    /// Stop after this many hours with a checkpoint from which `--resume` goes on [default: no limit]
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    max_hours: Option<Duration>,

    /// Start from the best checkpoint of a run with the same backbone and method: a folder, or a name in the folder of `--runs`
    /// [default: from the backbone]
    ///
    /// The run may have other tasks: what its method shares between tasks is taken, and what belongs to one task is taken
    /// if both have the task. The rest is new.
    #[arg(long, value_name = "RUN")]
    warm_start: Option<PathBuf>,

    /// Continue an interrupted run exactly as it would have continued: a folder, or a name in the folder of `--runs`
    /// [default: the newest run]
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        conflicts_with_all = [
            "name", "backbone", "method", "method_option", "data", "tasks", "labels", "fraction", "steps", "batch_size", "parts", "learning_rate", "evaluate_every", "seed", "deterministic", "warm_start"
        ]
    )]
    resume: Option<Option<PathBuf>>,

    /// Seconds to wait for another process before the training ends
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    process_timeout: u64,

    #[command(flatten)]
    format: FormatArgs,

    /// Print log lines instead of a progress bar
    #[arg(long)]
    no_progress: bool,
}

pub(crate) fn run(args: &TrainArgs, console: &Console, common: CommonArgs) -> Result<Exit> {
    if args.no_progress {
        console.hide_bars();
    }
    let began = Instant::now();
    together(Duration::from_secs(args.process_timeout), common, |group| {
        let training = match &args.resume {
            Some(run) => resume(args, run.as_deref(), console, group)?,
            None => start(args, console, group)?,
        };
        match group.is_first() {
            true => train(training, began, args, console),
            false => Ok(training.run(&mut Unobserved, stop_on_interrupt()?).map(|_| Exit::Success)?),
        }
    })
}

/// A number of hours above 0.
fn hours(text: &str) -> Result<Duration, String> {
    let hours = text.parse::<f64>().ok().filter(|hours| *hours > 0.0 && *hours <= 1e6);
    hours
        .map(|hours| Duration::from_secs_f64(hours * 3600.0))
        .ok_or("expected a number of hours above 0".into())
}

/// Trains, and prints how it goes and ends. `began` is the start of the program.
fn train(training: Training, began: Instant, args: &TrainArgs, console: &Console) -> Result<Exit> {
    let stop = stop_on_interrupt()?;
    let limit = args.max_hours.map(|hours| Limit { end: began + hours, stop });
    let mut progress = Progress::new(training.config().training.steps, console).alone(limit);
    let end = training.run(&mut progress, stop);
    progress.finish();
    let outcome = match end? {
        End::Finished(outcome) => outcome,
        End::Stopped { run, step } => {
            progress.stopped(&run, step);
            return Ok(Exit::Interrupted);
        }
    };
    let page = report::write(&outcome.run)?;
    console.record(args.format.output_format, &outcome.without_details(), || scores(&outcome))?;
    console.note(format_args!("report: `{}`", page.display()));
    console.note(exports(&outcome.run, outcome.validation.keys()));
    Ok(Exit::Success)
}

fn start(args: &TrainArgs, console: &Console, group: &Group) -> Result<Training> {
    let mut config = args.config.read()?;
    put(&mut config.runs, &args.runs);
    put(&mut config.training.learning_rate, &args.learning_rate);
    args.compute.apply(&mut config.training);
    config.name = args.name.clone().or(config.name.take());
    let warm_start = args.warm_start.as_deref();
    let warm_start = warm_start.map(|run| Run::open(&named(run, args.runs.as_deref(), &args.config.config)));
    let warm_start = warm_start.transpose().context("cannot start from `--warm-start`")?;
    config.validate()?;
    if group.is_first() {
        check_output_folder(&config.runs)?;
    }
    // One process of a machine fetches the backbone, then the others read it.
    if group.is_first() {
        fetch::locate(&config.backbone, console)?;
    } else if group.communicator().local_rank() == 0 {
        config.backbone.locate(&mut |_| ())?;
    }
    group.any(false).map_err(TrainError::from)?;
    let observer = &mut *reader(console, group);
    Ok(Training::prepare(config, warm_start.as_ref(), group.clone(), observer)?)
}

/// Follows the reading of streamed tasks in process 0.
fn reader<'a>(console: &'a Console, group: &Group) -> Box<dyn Observer + 'a> {
    if group.is_first() { Box::new(Progress::new(0, console)) } else { Box::new(Unobserved) }
}

fn resume(args: &TrainArgs, run: Option<&Path>, console: &Console, group: &Group) -> Result<Training> {
    let run = match (run, &args.runs) {
        (Some(run), runs) => Run::open(&named(run, runs.as_deref(), &args.config.config))?,
        (None, Some(runs)) => Run::newest(runs, Candidates::Any)?,
        (None, None) => Run::newest(&Config::from_file(&args.config.config)?.runs, Candidates::Any)?,
    };
    if group.is_first() {
        check_output_folder(&run.folder)?;
    }
    let observer = &mut *reader(console, group);
    Ok(Training::resume(args.compute.config_of(&run)?, run, group.clone(), observer)?)
}

/// The folder of a run that was named on the command line: inside the folder of runs, if one is given and holds it, else a
/// path, else inside the configuration's folder of runs.
fn named(run: &Path, runs: Option<&Path>, config: &Path) -> PathBuf {
    let inside = |runs: &Path| Some(runs.join(run)).filter(|folder| Run::exists(folder));
    let of_config = || match Run::exists(run) || runs.is_some() {
        true => None,
        false => Config::from_file(config).ok().and_then(|config| inside(&config.runs)),
    };
    runs.and_then(inside).or_else(of_config).unwrap_or_else(|| run.to_owned())
}

/// The commands that export the tasks of a run, for a note.
fn exports<'a>(run: &Path, mut tasks: impl ExactSizeIterator<Item = &'a String>) -> String {
    let run = crate::shared::quoted(run);
    let (count, first) = (tasks.len(), tasks.next().map_or("", String::as_str));
    let all = if count > 1 { format!(", `hl-export --run {run} --all` all tasks") } else { String::new() };
    format!("`hl-export --run {run} --task {first}` exports it{all}")
}

fn scores(outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec!["task", "validation loss", "validation F1", "test F1"];
    let all = || outcome.validation.values().chain(outcome.test.values());
    // Only where a corpus marks spans of text.
    let by_character = all().any(|evaluation| evaluation.exact.is_some());
    if by_character {
        header.extend(["validation F1 by character", "test F1 by character"]);
    }
    table.set_header(header);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    for (task, evaluation) in &outcome.validation {
        let test = outcome.test.get(task);
        let exact = |evaluation: &Evaluation| evaluation.exact.map(|scores| scores.f1);
        let mut row = vec![
            task.clone(),
            number(Some(evaluation.loss)),
            number(Some(evaluation.f1)),
            number(test.map(|test| test.f1)),
        ];
        if by_character {
            row.extend([exact(evaluation), test.and_then(exact)].map(number));
        }
        table.add_row(row);
    }
    let Outcome { run, best_step, train_seconds, .. } = outcome;
    format!(
        "run `{}`, best checkpoint at step {best_step}, {train_seconds:.0} s of training\n{table}",
        run.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_that_export_a_run_can_be_copied() {
        let text = |run: &str, tasks: &[&str]| {
            let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
            exports(Path::new(run), tasks.iter())
        };
        assert_eq!(text("c/runs/a-1", &["mtop"]), "`hl-export --run c/runs/a-1 --task mtop` exports it");
        let run = crate::shared::quoted(Path::new("it's/a 1"));
        assert_eq!(
            text("it's/a 1", &["mtop", "snips"]),
            format!(
                "`hl-export --run {run} --task mtop` exports it, `hl-export --run {run} --all` all tasks"
            )
        );
    }
}
