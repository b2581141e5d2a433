//! Ctrl-C, and the signal by which the system asks a program to end (SIGTERM).
//!
//! At first, Ctrl-C ends the program. After [`stop_on_interrupt`], the first one asks the program to save what it has and
//! stop, and the second one ends it. [`Scope`] changes this for a part of the program.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use indicatif::MultiProgress;

use crate::exit::Exit;

/// A line on stderr, above the progress bars.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) bars: MultiProgress,
}

/// What Ctrl-C does.
#[derive(Debug)]
enum Response {
    /// It ends the program, which prints this first.
    End(Option<Notice>),
    /// It asks the program to stop; once more, it ends it.
    Stop,
}

/// The signals so far, and what the next one does.
#[derive(Debug)]
struct Interrupts {
    response: Mutex<Response>,
    stop: AtomicBool,
    /// Whether a signal has set `stop`, which can be set for other reasons.
    is_pressed: AtomicBool,
}

static INTERRUPTS: Interrupts = Interrupts::new();

impl Interrupts {
    const fn new() -> Self {
        Self {
            response: Mutex::new(Response::End(None)),
            stop: AtomicBool::new(false),
            is_pressed: AtomicBool::new(false),
        }
    }

    fn response(&self) -> MutexGuard<'_, Response> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal has come. Calls `end` if the program has to end.
    fn interrupted(&self, end: impl FnOnce(Option<&Notice>)) {
        match &*self.response() {
            Response::End(notice) => end(notice.as_ref()),
            Response::Stop => {
                self.is_pressed.store(true, Ordering::Relaxed);
                if self.stop.swap(true, Ordering::Relaxed) {
                    end(None);
                }
            }
        }
    }

    /// Changes the response. Calls `end` if a signal has come that asked the program to stop, and it has to end now.
    fn set(&self, response: Response, end: impl FnOnce(Option<&Notice>)) -> Response {
        let mut current = self.response();
        let before = std::mem::replace(&mut *current, response);
        if let Response::End(notice) = &*current
            && self.is_pressed.load(Ordering::Relaxed)
        {
            end(notice.as_ref());
        }
        before
    }
}

/// A flag that becomes true once Ctrl-C is pressed or the system asks the program to end. All calls return the same.
///
/// # Errors
/// If the system refuses.
pub fn stop_on_interrupt() -> Result<&'static AtomicBool> {
    listen()?;
    INTERRUPTS.set(Response::Stop, end);
    Ok(&INTERRUPTS.stop)
}

/// A part of the program in which Ctrl-C does something else. When it is dropped, Ctrl-C does what it did before.
#[derive(Debug)]
#[must_use]
pub struct Scope {
    before: Response,
}

impl Scope {
    /// In this scope, Ctrl-C sets the flag of [`stop_on_interrupt`].
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stopping() -> Result<Self> {
        Self::new(Response::Stop)
    }

    /// In this scope, Ctrl-C ends the program. If it was pressed before and only asked to stop, the program ends now.
    pub(crate) fn ending(notice: Option<Notice>) -> Result<Self> {
        Self::new(Response::End(notice))
    }

    fn new(response: Response) -> Result<Self> {
        listen()?;
        Ok(Self { before: INTERRUPTS.set(response, end) })
    }

    /// Whether Ctrl-C was pressed, or the program was asked to stop for another reason.
    pub fn is_stopped() -> bool {
        INTERRUPTS.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        *INTERRUPTS.response() = std::mem::replace(&mut self.before, Response::End(None));
    }
}

fn listen() -> Result<()> {
    static IS_SET: Mutex<bool> = Mutex::new(false);
    let mut is_set = IS_SET.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_set {
        ctrlc::set_handler(|| INTERRUPTS.interrupted(end)).context("cannot listen for Ctrl-C")?;
        *is_set = true;
    }
    Ok(())
}

fn end(notice: Option<&Notice>) {
    if let Some(Notice { text, bars }) = notice {
        // If stderr cannot be written, there is no other place to report it.
        bars.suspend(|| drop(anstream::stderr().write_all(text.as_bytes())));
    }
    exit_at_once(i32::from(Exit::Interrupted.code()));
}

/// Ends the program without waiting for the end of a step or batch. The destructors of C++ libraries do not run: other threads
/// still compute with these libraries.
fn exit_at_once(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: the function ends the process and touches no memory of it.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    #[allow(clippy::exit)]
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether Ctrl-C ends the program.
    fn ends(interrupts: &Interrupts) -> bool {
        let mut ended = false;
        interrupts.interrupted(|_| ended = true);
        ended
    }

    /// Whether the program ends when the response changes.
    fn ends_at(interrupts: &Interrupts, response: Response) -> bool {
        let mut ended = false;
        interrupts.set(response, |_| ended = true);
        ended
    }

    #[test]
    fn ctrl_c_ends_a_program_that_did_not_ask_for_it() {
        let interrupts = Interrupts::new();
        assert!(ends(&interrupts) && !interrupts.stop.load(Ordering::Relaxed));
    }

    #[test]
    fn the_first_ctrl_c_asks_to_stop_and_the_second_one_ends() {
        let interrupts = Interrupts::new();
        assert!(!ends_at(&interrupts, Response::Stop));
        assert!(!ends(&interrupts) && interrupts.stop.load(Ordering::Relaxed));
        assert!(ends(&interrupts));
    }

    #[test]
    fn a_request_to_stop_is_not_lost_where_ctrl_c_ends_the_program() {
        let interrupts = Interrupts::new();
        ends_at(&interrupts, Response::Stop);
        assert!(!ends_at(&interrupts, Response::End(None)) && ends(&interrupts));
        ends_at(&interrupts, Response::Stop);
        assert!(!ends(&interrupts));
        assert!(ends_at(&interrupts, Response::End(None)));
    }

    #[test]
    fn a_stop_for_another_reason_is_not_a_ctrl_c() {
        let interrupts = Interrupts::new();
        ends_at(&interrupts, Response::Stop);
        interrupts.stop.store(true, Ordering::Relaxed);
        assert!(!ends_at(&interrupts, Response::End(None)));
    }
}
