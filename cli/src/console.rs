//! Where a program prints: data to stdout, notes, warnings, errors and progress to stderr.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::args::{CommonArgs, OutputFormat};
use crate::error;
use crate::exit::Exit;
use crate::interrupt::{Notice, Scope};
use crate::output::{Stdout, json};

/// The terminal of a program. All threads can print to it; lines appear above progress bars.
pub struct Console {
    quiet: bool,
    stdout: Mutex<Stdout<std::io::Stdout>>,
    bars: MultiProgress,
    /// The worst exit code of the errors reported so far.
    worst: AtomicU8,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Console {
    /// A console with the options `--color` and `--quiet`. The choice of colors holds for the whole process.
    pub fn new(args: CommonArgs) -> Self {
        args.color.apply();
        let target = if args.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self {
            quiet: args.quiet,
            stdout: Mutex::new(Stdout::new()),
            bars: MultiProgress::with_draw_target(target),
            worst: AtomicU8::new(Exit::Success.code()),
        }
    }

    /// Prints text to stdout, without its colors if stdout has none.
    ///
    /// # Errors
    /// If stdout cannot be written, for example to a full disk. A closed pipe is no error.
    pub fn print(&self, text: &str) -> Result<()> {
        self.stdout().styled(text)
    }

    /// Prints data to stdout as it is.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn print_data(&self, data: &[u8]) -> Result<()> {
        self.stdout().raw(data)
    }

    /// Writes everything printed so far to stdout.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn flush(&self) -> Result<()> {
        self.stdout().flush()
    }

    /// Whether the reader of stdout has closed the pipe: it needs no more data.
    pub fn is_closed(&self) -> bool {
        self.stdout().is_closed()
    }

    /// Prints the one record of a command, see [`OutputFormat`]. `text` does not end in a line feed.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn record(
        &self,
        format: OutputFormat,
        record: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        match format {
            OutputFormat::Text => self.print(&format!("{}\n", text()))?,
            OutputFormat::Json | OutputFormat::Jsonl => {
                self.print_data(format!("{}\n", json(record)?).as_bytes())?;
            }
        }
        self.flush()
    }

    /// Prints a note to stderr, unless `--quiet` is set.
    pub fn note(&self, message: impl fmt::Display) {
        if !self.quiet {
            self.requested(message);
        }
    }

    /// Prints a line to stderr that the user asked for, even with `--quiet`.
    pub fn requested(&self, message: impl fmt::Display) {
        self.stderr(&error::note(&message.to_string()));
    }

    /// A scope in which the first Ctrl-C ends the program, which prints this note first. If Ctrl-C was pressed before and only
    /// asked to stop, the program ends now.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn end_on_interrupt(&self, message: impl fmt::Display) -> Result<Scope> {
        let text = (!self.quiet).then(|| error::note(&message.to_string()));
        Scope::ending(text.map(|text| Notice { text, bars: self.bars.clone() }))
    }

    /// Prints a warning to stderr, even with `--quiet`.
    pub fn warn(&self, message: impl fmt::Display) {
        self.stderr(&error::warning(&message.to_string()));
    }

    /// Prints an error with its causes and hints to stderr. The program ends with `exit` or a worse code.
    pub fn error(&self, error: &(dyn Error + 'static), exit: Exit) {
        self.failed(exit);
        self.stderr(&error::error(None, error));
    }

    /// As [`Self::error`], with the place of the error, such as `<stdin>:7`, before the message.
    pub fn error_at(&self, place: &str, error: &(dyn Error + 'static), exit: Exit) {
        self.failed(exit);
        self.stderr(&error::error(Some(place), error));
    }

    /// Whether progress bars are visible: stderr is a terminal, and neither `--quiet` is set nor [`Self::hide_bars`] was
    /// called.
    pub fn shows_bars(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Hides progress bars from now on.
    pub fn hide_bars(&self) {
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// A progress bar of `len` steps on stderr. `template` is indicatif's, where `{bar}` is the bar itself.
    pub fn bar(&self, len: u64, template: &str) -> ProgressBar {
        let color = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        let bar = if color { "{bar:30.cyan/dim}" } else { "{bar:30}" };
        let style = ProgressStyle::with_template(&template.replace("{bar}", bar));
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(len).with_style(style))
    }

    /// The worst exit code of the errors reported so far.
    pub(crate) fn exit(&self) -> Exit {
        let worst = self.worst.load(Ordering::Relaxed);
        let known = [Exit::UserError, Exit::InternalError, Exit::Interrupted];
        known.into_iter().find(|exit| exit.code() == worst).unwrap_or_default()
    }

    fn failed(&self, exit: Exit) {
        self.worst.fetch_max(exit.code(), Ordering::Relaxed);
    }

    fn stderr(&self, text: &str) {
        // If stderr cannot be written, there is no other place to report it.
        self.bars.suspend(|| drop(anstream::stderr().write_all(text.as_bytes())));
    }

    fn stdout(&self) -> MutexGuard<'_, Stdout<std::io::Stdout>> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
