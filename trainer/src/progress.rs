//! How a training looks while it runs: a bar with loss, speed and ETA on a terminal, plain lines elsewhere.
#![allow(clippy::print_stderr)] // This is the program's one voice on stderr.

use std::time::Duration;

use hyperloader_core::run::Run;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::data::TaskData;
use crate::evaluate::Evaluation;
use crate::train::{Observer, Step};

/// Weight of the newest step in the smoothed loss.
const SMOOTHING: f64 = 0.05;

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
    loss: Option<f64>,
    tokens: i64,
}

impl Progress {
    /// A reporter of `steps` updates; `bar` only shows on a terminal.
    pub fn new(steps: u64, verbosity: Verbosity, bar: bool) -> Self {
        let target = match (verbosity, bar) {
            (Verbosity::Normal, true) => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style =
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {elapsed} elapsed, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { verbosity, bar, lines_every: (steps / 20).max(1), loss: None, tokens: 0 }
    }

    fn say(&self, line: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize) {
        self.say(&format!("run `{}`, {trainable} trainable parameters", run.folder.display()));
        for task in data {
            let TaskData { name, train, valid, test, skipped, truncated, labels } = task;
            let mut line = format!(
                "task `{name}`: {} train, {} valid, {} test sentences, {} labels",
                train.len(),
                valid.len(),
                test.len(),
                labels.len(),
            );
            if *skipped > 0 {
                line += &format!("; {skipped} training sentences are too long and left out");
            }
            if *truncated > 0 {
                line += &format!("; {truncated} sentences are cut at the length limit");
            }
            self.say(&line);
        }
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn stepped(&mut self, step: &Step) {
        let loss = match self.loss {
            None => step.loss_above_floor,
            Some(loss) => loss + SMOOTHING * (step.loss_above_floor - loss),
        };
        self.loss = Some(loss);
        self.tokens += step.tokens;
        let speed = self.tokens as f64 / step.seconds.max(1e-9);
        let message = format!("loss {loss:.4} above floor, {speed:.0} tokens/s");
        self.bar.set_position(step.step);
        self.bar.set_message(message.clone());
        if self.bar.is_hidden() && step.step.is_multiple_of(self.lines_every) {
            self.say(&format!("step {}: {message}", step.step));
        }
    }

    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation) {
        let Evaluation { loss, f1, .. } = evaluation;
        self.say(&format!("step {step}, task `{task}`: validation loss {loss:.4}, F1 {f1:.4}"));
    }
}
