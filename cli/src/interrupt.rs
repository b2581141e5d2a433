//! Ctrl-C: the first one asks the program to save what it has and stop, the second one ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use anyhow::{Context, Result};

/// A flag that becomes true once Ctrl-C is pressed or the system asks the program to end (SIGTERM).
///
/// # Errors
/// If it was called before, or the system refuses.
#[allow(clippy::exit, reason = "the second Ctrl-C must not wait for the end of a step or batch")]
pub fn stop_on_interrupt() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(&STOP)
}
