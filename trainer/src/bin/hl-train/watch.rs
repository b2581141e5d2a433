//! `hl-train watch`: the curves of a run in the terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, Exit, stop_on_interrupt};
use hyperloader_core::run::{Candidates, Run, RunError, Task};
use hyperloader_core::text::printable::printable;
use hyperloader_trainer::config::Config;
use hyperloader_trainer::report::history::History;
use hyperloader_trainer::train::{CONFIG, OUTCOME};

use crate::chart::chart;
use crate::shared::RunArgs;

/// Time between two looks at a run.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks at Ctrl-C.
const NAP: Duration = Duration::from_millis(50);

/// Show the curves of a run in the terminal
///
/// Shows the training loss, the validation F1 and the newest scores of each task, and follows a run that is being
/// trained until it ends. If stdout is no terminal, it prints a line for each evaluation, and the curves at the end.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train watch
  hl-train watch runs/hyperloader-1")]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run(args: &WatchArgs, console: &Console) -> Result<Exit> {
    let stop = stop_on_interrupt()?;
    let folder = args.run.folder(Candidates::Any, console)?;
    match std::io::stdout().is_terminal() {
        true => follow(&folder, &mut Screen { console, lines: 0, shown: String::new() }, stop),
        false => follow(&folder, &mut Lines { console, printed: 0 }, stop),
    }
}

/// A run at some instant.
struct RunView {
    run: Run,
    steps: u64,
    history: History,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Training,
    Stopped,
    Finished,
}

impl State {
    /// The state of the run in `folder`. It is asked first whether the run is in use: a training that ends after that has written
    /// its outcome by then.
    fn of(folder: &Path, is_in_use: impl FnOnce() -> Result<bool, RunError>) -> Result<Self, RunError> {
        Ok(match (is_in_use()?, folder.join(OUTCOME).exists()) {
            (true, _) => Self::Training,
            (false, true) => Self::Finished,
            (false, false) => Self::Stopped,
        })
    }
}

/// Shows a run as it goes on.
trait Display {
    fn show(&mut self, view: &RunView) -> Result<()>;
    /// Whether nobody reads on.
    fn is_closed(&self) -> bool;
}

/// Shows the run until it ends.
fn follow(folder: &Path, display: &mut dyn Display, stop: &AtomicBool) -> Result<Exit> {
    loop {
        let run = RunView::at(folder)?;
        display.show(&run)?;
        if run.state != State::Training || display.is_closed() {
            return Ok(Exit::Success);
        }
        let until = Instant::now() + PAUSE;
        while Instant::now() < until {
            if stop.load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            std::thread::sleep(NAP);
        }
    }
}

impl RunView {
    fn at(folder: &Path) -> Result<Self> {
        let run = Run::open(folder)?;
        // Before the history, so that a run that ends in between is complete.
        let state = State::of(folder, || run.is_in_use())?;
        let steps = Config::from_file(&folder.join(CONFIG))?.training.steps;
        Ok(Self { steps, history: History::read(folder)?, state, run })
    }

    /// The last step whose evaluation has all tasks, if it was evaluated: tasks are logged one after the other.
    fn complete_until(&self) -> u64 {
        let last = self.history.last_validated().unwrap_or(0);
        let is_logged = |task: &Task| self.history.validation(&task.name, last).is_some();
        match self.state == State::Training && !self.run.manifest.tasks.iter().all(is_logged) {
            true => last.saturating_sub(1),
            false => last,
        }
    }

    fn title(&self) -> String {
        let state = match self.state {
            State::Training => "is being trained",
            State::Stopped => "is not being trained; `hl-train --resume` continues it",
            State::Finished => "is finished",
        };
        let step = self.history.last().map_or(0, |step| step.step);
        format!("run `{}`, step {step} of {}, {state}", printable(&self.run.manifest.name), self.steps)
    }

    /// The curves of all tasks together, and the newest numbers of each.
    fn text(&self) -> String {
        let mut lines = vec![self.title()];
        let loss = self.history.mean_training_loss();
        let top = loss.iter().map(|(_, loss)| *loss).fold(0.0, f64::max);
        let mut add = |name: &str, points: &[(u64, f64)], high| {
            lines.extend([String::new(), name.to_owned()]);
            lines.extend(chart(points, 0.0, high));
            if let ([(first, _), ..], [.., (last, _)]) = (points, points) {
                lines.push(format!("{:10}step {first} to {last}", ""));
            }
        };
        add("training loss above the smoothing floor", &loss, top);
        add("mean validation F1", &self.history.mean_validation_f1(), 1.0);
        lines.push(String::new());
        for task in &self.run.manifest.tasks {
            lines.push(self.task(&task.name));
        }
        lines.join("\n")
    }

    fn task(&self, task: &str) -> String {
        let newest = |points: &[(u64, f64)]| points.last().map_or("-".to_owned(), |(_, y)| format!("{y:.4}"));
        let [loss, f1] = [self.history.training_loss(task), self.history.validation_f1(task)];
        format!("{}: loss {}, F1 {}", printable(task), newest(&loss), newest(&f1))
    }
}

/// A terminal, in which the curves are drawn over and over.
struct Screen<'a> {
    console: &'a Console,
    /// The number of lines on the screen.
    lines: usize,
    shown: String,
}

impl Display for Screen<'_> {
    fn show(&mut self, view: &RunView) -> Result<()> {
        let text = view.text();
        if text != self.shown {
            if self.lines > 0 {
                // Up to the first line, and clear what is below.
                self.console.print_data(format!("\x1b[{}A\x1b[J", self.lines).as_bytes())?;
            }
            // A line that is wider than the terminal is cut off: one that wraps would not be found again.
            self.console.print_data(format!("\x1b[?7l{text}\n\x1b[?7h").as_bytes())?;
            self.lines = text.lines().count();
            self.shown = text;
        }
        self.console.flush()
    }

    fn is_closed(&self) -> bool {
        self.console.is_closed()
    }
}

/// A pipe or a file: a line for each evaluation, and the curves at the end.
struct Lines<'a> {
    console: &'a Console,
    /// The step of the last evaluation that was printed.
    printed: u64,
}

impl Display for Lines<'_> {
    fn show(&mut self, view: &RunView) -> Result<()> {
        let before = self.printed;
        let complete = view.complete_until();
        for (step, tasks) in
            view.history.validations().filter(|(step, _)| *step > before && *step <= complete)
        {
            let tasks: Vec<String> =
                tasks.map(|(task, f1)| format!("{} F1 {f1:.4}", printable(task))).collect();
            self.console.print_data(format!("step {step}: {}\n", tasks.join(", ")).as_bytes())?;
            self.printed = step;
        }
        if view.state != State::Training {
            self.console.print_data(format!("\n{}\n", view.text()).as_bytes())?;
        }
        self.console.flush()
    }

    fn is_closed(&self) -> bool {
        self.console.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_while_it_is_looked_at_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let ends = || {
            std::fs::write(folder.path().join(OUTCOME), "{}").unwrap();
            Ok(false)
        };
        assert!(State::of(folder.path(), ends).unwrap() == State::Finished);
        assert!(State::of(folder.path(), || Ok(true)).unwrap() == State::Training);
        std::fs::remove_file(folder.path().join(OUTCOME)).unwrap();
        assert!(State::of(folder.path(), || Ok(false)).unwrap() == State::Stopped);
    }
}
