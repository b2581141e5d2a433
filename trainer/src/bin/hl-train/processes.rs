//! Several processes of `hl-train`: process 0 prints and gives the exit status of all.

use std::time::Duration;

use anyhow::{Error, Result};
use hyperloader_cli::{CommonArgs, Console, Exit};
use hyperloader_core::causes::with_causes;
use hyperloader_trainer::parallel::{Failure, Group, LaunchError, Silence, launch, launched};
use hyperloader_trainer::train::TrainError;

use crate::exit_of;

/// Runs `work` in all processes that were started with this one, and waits for all of them. An error of one ends all; process 0
/// prints it. `limit` is the longest time without an answer.
pub(crate) fn together(
    limit: Duration,
    common: CommonArgs,
    work: impl FnOnce(&Group) -> Result<Exit>,
) -> Result<Exit> {
    // After this report all processes are aborted.
    let report = move |silence: &Silence| Console::new(common).error(silence, Exit::UserError);
    let group = match launch(limit, report) {
        Ok(group) => group,
        Err(error) => return of_first(error.into()),
    };
    let result = work(&group);
    let closed = match &result {
        Ok(_) => group.close(None),
        Err(error) if is_of_peer(error) => Ok(()),
        Err(error) => {
            let is_internal = exit_of(error.as_ref()) == Exit::InternalError;
            group.close(Some(Failure { message: with_causes(error.as_ref()), is_internal }))
        }
    };
    let result = match closed {
        Ok(()) => result,
        Err(peer) => Err(TrainError::from(peer).into()),
    };
    match group.is_first() {
        true => result,
        false => Ok(Exit::Success),
    }
}

/// Refuses commands other than training in several processes. Returns how processes other than the first end.
pub(crate) fn alone(work: impl FnOnce() -> Result<Exit>) -> Result<Exit> {
    match launched() {
        Some(launched) if launched.size > 1 => of_first(LaunchError::OneOnly(launched.size).into()),
        _ => work(),
    }
}

/// The error of process 0; the others, which have the same, print nothing.
fn of_first(error: Error) -> Result<Exit> {
    match launched() {
        Some(launched) if launched.rank > 0 => Ok(Exit::Success),
        _ => Err(error),
    }
}

/// Whether all processes have the error.
fn is_of_peer(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(TrainError::Peer(_)))
}
