//! Ctrl-C: the first one asks the program to save what it has and stop, the second one ends it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use anyhow::{Context, Result};

/// A flag that becomes true once Ctrl-C is pressed or the system asks the program to end (SIGTERM). All calls return the same.
///
/// # Errors
/// If the system refuses.
#[allow(clippy::exit, reason = "the second Ctrl-C must not wait for the end of a step or batch")]
pub fn stop_on_interrupt() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static IS_SET: Mutex<bool> = Mutex::new(false);
    let mut is_set = IS_SET.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*is_set {
        ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        })
        .context("cannot listen for Ctrl-C")?;
        *is_set = true;
    }
    Ok(&STOP)
}
