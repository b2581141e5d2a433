//! Progress of a training: a bar with loss, speed, memory and remaining time on a terminal, log lines elsewhere.

use hyperloader_core::corpus::FileReport;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyperloader_cli::{Console, Scope};
use hyperloader_core::run::{Run, TaskCalibration};
use hyperloader_trainer::calibrate::FEWEST;
use hyperloader_trainer::data::{Counts, Example, ReadProgress, TaskData};
use hyperloader_trainer::evaluate::Evaluation;
use hyperloader_trainer::smoothing::Smoothed;
use hyperloader_trainer::train::{Observer, Step};
use indicatif::ProgressBar;

use crate::forecast::Forecast;
use crate::shared::quoted;
use crate::streams::StreamProgress;

/// Minimum number of log lines in a whole training without a bar.
const LINES: u64 = 20;
/// Longest time between two log lines without a bar.
const SILENCE: Duration = Duration::from_secs(60);
/// The bar, and the loss of each task below it.
const TEMPLATE: &str = "{bar} {pos}/{len}  {prefix}  {elapsed} elapsed, {eta} left\n{wide_msg}";

/// Prints what happens in a training.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    console: &'a Console,
    bar: ProgressBar,
    lines_every: u64,
    last_line: Instant,
    pace: Pace,
    began: Instant,
    forecast: Forecast,
    limit: Option<Limit<'a>>,
    reading: StreamProgress<'a>,
    /// Whether `--resume` continues the run; if not, the same command does.
    is_alone: bool,
    /// After the last update, Ctrl-C ends the program.
    _ending: Option<Scope>,
}

/// The time after which a training is asked to stop.
#[derive(Debug)]
pub(crate) struct Limit<'a> {
    pub(crate) end: Instant,
    pub(crate) stop: &'a AtomicBool,
}

/// Smoothed numbers of the updates so far.
#[derive(Debug, Default)]
struct Pace {
    loss: Smoothed,
    by_task: BTreeMap<String, Smoothed>,
    tokens: Smoothed,
    seconds: Smoothed,
    /// Seconds from the start of the run to the end of the previous update.
    before: Option<f64>,
}

impl<'a> Progress<'a> {
    /// Progress of a training of `steps` updates.
    pub(crate) fn new(steps: u64, console: &'a Console) -> Self {
        let bar = console.bar(steps, TEMPLATE);
        let lines_every = (steps / LINES).max(1);
        let now = Instant::now();
        let (pace, forecast) = (Pace::default(), Forecast::new(steps));
        Self {
            console,
            bar,
            lines_every,
            last_line: now,
            pace,
            began: now,
            forecast,
            limit: None,
            reading: StreamProgress::new(console),
            is_alone: false,
            _ending: None,
        }
    }

    /// The same for plain `hl-train`; the training is asked to stop at `limit`.
    pub(crate) fn alone(self, limit: Option<Limit<'a>>) -> Self {
        Self { limit, is_alone: true, ..self }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells that a training stopped after Ctrl-C or at its time limit, and how to continue it.
    pub(crate) fn stopped(&self, run: &Path, step: u64) {
        self.console.note(stopped(run, step));
    }
}

fn stopped(run: &Path, step: u64) -> String {
    let run = quoted(run);
    format!("stopped after step {step}, the run is saved\nhint: `hl-train --resume {run}` continues it")
}

impl Observer for Progress<'_> {
    fn reading(&mut self, progress: &ReadProgress<'_>) -> ControlFlow<()> {
        self.reading.show(progress)
    }

    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize, done: u64) {
        let resumed = if done > 0 { format!(", resumed after step {done}") } else { String::new() };
        self.console
            .note(format_args!("run `{}`, {trainable} trainable parameters{resumed}", run.folder.display()));
        for task in data {
            self.console.note(inventory(task));
        }
        for task in data {
            self.pace.by_task.insert(task.name.clone(), Smoothed::default());
        }
        self.bar.set_position(done);
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn warned(&mut self, warning: &str) {
        self.console.warn(warning);
    }

    fn noted(&mut self, note: &str) {
        self.console.note(note);
    }

    fn stepped(&mut self, step: &Step) {
        self.pace.add(step);
        self.bar.set_position(step.step);
        self.bar.set_prefix(self.pace.summary());
        self.bar.set_message(self.pace.tasks());
        let due = step.step.is_multiple_of(self.lines_every) || self.last_line.elapsed() >= SILENCE;
        if due && !self.console.shows_bars() {
            self.last_line = Instant::now();
            self.console.note(format_args!(
                "step {}: {} ({})",
                step.step,
                self.pace.summary(),
                self.pace.tasks()
            ));
        }
        if let Some(line) = self.forecast.stepped(step.step, self.began.elapsed()) {
            self.console.note(line);
        }
        if let Some(Limit { stop, .. }) = self.limit.take_if(|limit| Instant::now() >= limit.end) {
            self.console.note("the limit of `--max-hours` is reached");
            stop.store(true, Ordering::Relaxed);
        }
    }

    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation) {
        self.forecast.evaluated(step);
        let Evaluation { loss, f1, exact, .. } = evaluation;
        let exact = exact.map_or(String::new(), |exact| format!(" ({:.4} by character)", exact.f1));
        self.console
            .note(format_args!("step {step}, task `{task}`: validation loss {loss:.4}, F1 {f1:.4}{exact}"));
    }

    fn finishing(&mut self, run: &Path, step: u64) {
        let note = match self.is_alone {
            true => stopped(run, step),
            false => "stopped, all runs are saved\nhint: the same command continues".to_owned(),
        };
        // Without a handler, Ctrl-C ends the program as well.
        self._ending = self.console.end_on_interrupt(note).ok();
    }

    fn drafter_fitted(&mut self, task: &str) {
        self.console.note(format_args!("task `{task}`: drafter fitted"));
    }

    fn calibrated(&mut self, task: &str, calibration: Option<&TaskCalibration>) {
        match calibration {
            Some(TaskCalibration { calibration, .. }) => self.console.note(format_args!(
                "task `{task}`: scores calibrated, temperature {:.3}",
                calibration.temperature
            )),
            None => self.console.note(format_args!(
                "task `{task}`: scores are not calibrated, that takes at least {FEWEST} validation sentences"
            )),
        }
    }
}

impl Pace {
    fn add(&mut self, step: &Step) {
        self.loss.push(step.loss_above_floor);
        self.by_task.entry(step.task.clone()).or_default().push(step.loss_above_floor);
        // In a resumed run, the first update here has no previous one.
        if let Some(before) = self.before.replace(step.seconds) {
            self.tokens.push(step.tokens as f64);
            self.seconds.push(step.seconds - before);
        }
    }

    /// Loss over all tasks, target tokens per second, resident memory; values that are not known yet are left out.
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.loss.mean().map(|loss| format!("loss {loss:.4} above floor")));
        if let (Some(tokens), Some(seconds)) = (self.tokens.mean(), self.seconds.mean()) {
            parts.push(format!("{:.0} tokens/s", tokens / seconds.max(1e-9)));
        }
        let memory = memory_stats::memory_stats();
        parts.extend(memory.map(|used| format!("{:.1} GiB", used.physical_mem as f64 / f64::from(1 << 30))));
        parts.join(", ")
    }

    /// The loss of each task; `-` for tasks without a batch so far.
    fn tasks(&self) -> String {
        let loss = |loss: &Smoothed| loss.mean().map_or("-".to_owned(), |mean| format!("{mean:.2}"));
        let tasks: Vec<String> = self.by_task.iter().map(|(task, l)| format!("{task} {}", loss(l))).collect();
        tasks.join(", ")
    }
}

/// The sentences of a task, and how many of them were cut or left out.
fn inventory(task: &TaskData) -> String {
    let TaskData { name, train, valid, test, labels, counts, unseen_labels, files, .. } = task;
    let Counts { skipped, truncated, windowed } = counts;
    // The windows of a sentence count once.
    let sentences = |examples: &[Example]| examples.chunk_by(|a, b| a.sentence == b.sentence).count();
    let [valid, test] = [valid, test].map(|examples| sentences(examples));
    let streamed = if train.is_streamed() { " (streamed)" } else { "" };
    let mut line = format!(
        "task `{name}`: {} train{streamed}, {valid} valid, {test} test sentences, {} labels",
        train.sentences(),
        labels.len()
    );
    for (count, what) in [
        (*skipped, "training sentences are too long and left out"),
        (*windowed, "sentences are too long and cut into windows"),
        (*truncated, "sentences or windows are cut off at the length limit"),
        (unseen_labels.len(), "labels are in the test sentences but in no training sentence:"),
    ] {
        if count > 0 {
            line += &format!("; {count} {what}");
        }
    }
    if !unseen_labels.is_empty() {
        line += &format!(" `{}`", unseen_labels.join("`, `"));
    }
    for FileReport { path, report, .. } in files {
        for note in report.notes() {
            line += &format!("\n  `{}`: {note}", path.display());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, task: &str, loss_above_floor: f64, seconds: f64) -> Step {
        Step {
            step,
            task: task.to_owned(),
            loss: loss_above_floor + 1.3,
            loss_above_floor,
            grad_norm: 1.0,
            learning_rate: 0.1,
            tokens: 100,
            seconds,
        }
    }

    #[test]
    fn the_speed_of_a_resumed_run_ignores_the_time_before_it_was_resumed() {
        let mut pace = Pace::default();
        pace.add(&step(901, "atis", 2.0, 5000.0));
        assert!(!pace.summary().contains("tokens/s"), "{}", pace.summary());
        pace.add(&step(902, "atis", 2.0, 5000.5));
        assert!(pace.summary().starts_with("loss 2.0000 above floor, 200 tokens/s"), "{}", pace.summary());
    }

    #[test]
    fn tasks_without_a_batch_have_no_loss() {
        let mut pace = Pace::default();
        pace.by_task.insert("movie".to_owned(), Smoothed::default());
        pace.add(&step(1, "atis", 0.5, 1.0));
        assert_eq!(pace.tasks(), "atis 0.50, movie -");
    }
}
