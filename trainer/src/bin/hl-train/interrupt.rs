//! Ctrl-C: the first one asks a training to save and stop, the second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use hyperloader_cli::Exit;

/// A flag that becomes true once Ctrl-C is pressed or the system asks the program to end (SIGTERM).
#[allow(clippy::exit, reason = "the second Ctrl-C must not wait for the end of a step")]
pub(crate) fn stop_on_interrupt() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(&STOP)
}
