//! Progress on stderr: records, their rate, and the time that is left.

use std::time::{Duration, Instant};

use hyperloader_cli::Console;
use indicatif::{HumanCount, ProgressBar};

use crate::inputs::Input;

/// Progress is first shown after this time: short work needs none.
const QUIET: Duration = Duration::from_millis(500);

/// A bar over the bytes of the inputs, if they are files.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    console: &'a Console,
    /// Bytes of all inputs; `None` if they have no end that is known.
    size: Option<u64>,
    bar: Option<ProgressBar>,
    began: Instant,
}

impl<'a> Progress<'a> {
    /// Nothing is shown yet, and never if `hidden`.
    pub(crate) fn new(console: &'a Console, inputs: &[Input], hidden: bool) -> Self {
        if hidden {
            console.hide_bars();
        }
        let size = inputs.iter().map(Input::length).sum::<Option<u64>>().filter(|size| *size > 0);
        Self { console, size, bar: None, began: Instant::now() }
    }

    /// Shows that `records` were written, after `position` bytes of the inputs.
    pub(crate) fn set(&mut self, records: usize, position: u64) {
        if !self.console.shows_bars() || self.began.elapsed() < QUIET {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| match self.size {
            Some(size) => self
                .console
                .bar(size, "{bar} {percent}%  {msg}  {eta} left")
                .with_elapsed(self.began.elapsed()),
            None => self.console.bar(0, "{msg}"),
        });
        let rate = records as f64 / self.began.elapsed().as_secs_f64();
        bar.set_message(format!("{} records, {rate:.0}/s", HumanCount(records as u64)));
        bar.set_position(position.min(self.size.unwrap_or(position)));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
