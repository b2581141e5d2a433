//! How a training looks while it runs: a bar with losses, speed, memory and ETA on a terminal, plain lines elsewhere.
#![allow(clippy::print_stderr)] // This is the program's one voice on stderr.

use hyperloader_core::corpus::FileReport;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hyperloader_core::run::Run;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::data::{Example, TaskData};
use crate::evaluate::Evaluation;
use crate::smoothing::Smoothed;
use crate::train::{Observer, Step};

/// Lines of a whole training where there is no bar, at least.
const LINES: u64 = 20;
/// Longest silence where there is no bar.
const SILENCE: Duration = Duration::from_secs(60);
/// The bar, and the loss of each task below it. The colour is left out where `NO_COLOR` is set.
const TEMPLATE: &str = "{bar:30.cyan/dim} {pos}/{len}  {prefix}  {elapsed} elapsed, {eta} left\n{wide_msg}";

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing but errors.
    Quiet,
    /// Progress and evaluations.
    Normal,
}

/// The observer of `hl-train`.
#[derive(Debug)]
pub struct Progress {
    verbosity: Verbosity,
    bar: ProgressBar,
    lines_every: u64,
    last_line: Instant,
    pace: Pace,
}

/// Smoothed numbers of the updates so far.
#[derive(Debug, Default)]
struct Pace {
    loss: Smoothed,
    by_task: BTreeMap<String, Smoothed>,
    tokens: Smoothed,
    seconds: Smoothed,
    /// When the update before this one ended.
    before: Option<f64>,
}

impl Progress {
    /// A reporter of `steps` updates; `bar` only shows on a terminal.
    pub fn new(steps: u64, verbosity: Verbosity, bar: bool) -> Self {
        let target = match (verbosity, bar) {
            (Verbosity::Normal, true) => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let lines_every = (steps / LINES).max(1);
        Self { verbosity, bar, lines_every, last_line: Instant::now(), pace: Pace::default() }
    }

    /// Takes the bar away, so that it does not draw over what follows.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells that a training was asked to stop, and how it goes on.
    pub fn stopped(&self, run: &Path, step: u64) {
        let run = run.display();
        self.say(&format!("stopped after step {step}, saved; go on with `hl-train --resume {run}`"));
    }

    /// Tells where the report is.
    pub fn reported(&self, page: &Path) {
        self.say(&format!("report: `{}`", page.display()));
    }

    fn say(&self, line: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        if self.bar.is_hidden() || self.bar.is_finished() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize, done: u64) {
        let resumed = if done > 0 { format!(", resumed after step {done}") } else { String::new() };
        self.say(&format!("run `{}`, {trainable} trainable parameters{resumed}", run.folder.display()));
        for task in data {
            self.say(&inventory(task));
        }
        for task in data {
            self.pace.by_task.insert(task.name.clone(), Smoothed::default());
        }
        self.bar.set_position(done);
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn warned(&mut self, warning: &str) {
        self.say(&format!("warning: {warning}"));
    }

    fn stepped(&mut self, step: &Step) {
        self.pace.add(step);
        self.bar.set_position(step.step);
        self.bar.set_prefix(self.pace.summary());
        self.bar.set_message(self.pace.tasks());
        let due = step.step.is_multiple_of(self.lines_every) || self.last_line.elapsed() >= SILENCE;
        if self.bar.is_hidden() && due {
            self.last_line = Instant::now();
            self.say(&format!("step {}: {} ({})", step.step, self.pace.summary(), self.pace.tasks()));
        }
    }

    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation) {
        let Evaluation { loss, f1, .. } = evaluation;
        self.say(&format!("step {step}, task `{task}`: validation loss {loss:.4}, F1 {f1:.4}"));
    }

    fn drafter_fitted(&mut self, task: &str) {
        self.say(&format!("task `{task}`: drafter fitted"));
    }
}

impl Pace {
    fn add(&mut self, step: &Step) {
        self.loss.push(step.loss_above_floor);
        self.by_task.entry(step.task.clone()).or_default().push(step.loss_above_floor);
        // The clock of a resumed run does not start at its first update here.
        if let Some(before) = self.before.replace(step.seconds) {
            self.tokens.push(step.tokens as f64);
            self.seconds.push(step.seconds - before);
        }
    }

    /// Loss over all tasks, target tokens a second, resident memory; what is not known yet is left out.
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

    /// The loss of each task; `-` for those that had no batch yet.
    fn tasks(&self) -> String {
        let loss = |loss: &Smoothed| loss.mean().map_or("-".to_owned(), |mean| format!("{mean:.2}"));
        let tasks: Vec<String> = self.by_task.iter().map(|(task, l)| format!("{task} {}", loss(l))).collect();
        tasks.join(", ")
    }
}

/// What a task trains on, and what of it is not as distributed.
fn inventory(task: &TaskData) -> String {
    let TaskData {
        name, train, valid, test, labels, skipped, truncated, windowed, unseen_labels, files, ..
    } = task;
    // The windows of a sentence count once.
    let sentences = |examples: &[Example]| examples.chunk_by(|a, b| a.sentence == b.sentence).count();
    let [train, valid, test] = [train, valid, test].map(|examples| sentences(examples));
    let mut line = format!(
        "task `{name}`: {train} train, {valid} valid, {test} test sentences, {} labels",
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
    fn speed_is_that_of_this_program_even_if_the_run_was_begun_by_another() {
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
