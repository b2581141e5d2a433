//! A run of `hl-train compare --jobs N`: this program once more, that trains one run and ends with the one that started it.
#![allow(clippy::print_stderr)] // The log of the other program goes on to stderr.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::compare::{CompareArguments, RunEnd};
use super::train::INTERRUPTED;
use crate::compare::Cell;

/// Between two looks at whether the other program has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// What `--job` names a run by: the end of its folder.
pub(super) fn name(cell: &Cell) -> String {
    format!("{}/{}/{}", cell.method.label, cell.fraction, cell.seed)
}

/// Trains a run in another program, whose log goes to stderr with the run's name before each line.
pub(super) fn train(cell: &Cell, arguments: &CompareArguments, stop: &AtomicBool) -> RunEnd {
    let name = name(cell);
    let command = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command
            .args(options(cell, arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn()
    });
    let mut child = match command {
        Ok(child) => child,
        Err(error) => {
            eprintln!("hl-train: error: {name}: cannot start `hl-train`: {error}");
            return RunEnd::Failed;
        }
    };
    let log = child.stderr.take();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lines = log.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok);
            lines.for_each(|line| eprintln!("{name}: {line}"));
        });
        wait(child, stop)
    })
}

/// Waits for the other program, and asks it to stop when this one is asked to.
fn wait(mut child: Child, stop: &AtomicBool) -> RunEnd {
    loop {
        if stop.load(Relaxed) {
            drop(child.stdin.take());
        }
        match child.try_wait() {
            Ok(None) => std::thread::sleep(PAUSE),
            Ok(Some(status)) if status.success() => return RunEnd::Done,
            Ok(Some(status)) if status.code() == Some(i32::from(INTERRUPTED)) => return RunEnd::Stopped,
            Ok(Some(_)) | Err(_) => return RunEnd::Failed,
        }
    }
}

fn options(cell: &Cell, arguments: &CompareArguments) -> Vec<OsString> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = (cores / usize::from(arguments.jobs)).max(1);
    let threads = cell.method.config.training.threads.unwrap_or(share);
    let mut options: Vec<OsString> =
        ["compare", "--no-progress", "--job", &name(cell), "--threads", &threads.to_string(), "--config"]
            .map(OsString::from)
            .into();
    options.push(arguments.config.clone().into());
    let data = arguments.data.iter().map(|data| data.as_os_str().to_owned());
    options.extend(data.flat_map(|data| ["--data".into(), data]));
    let device = arguments.device.iter().map(OsString::from);
    options.extend(device.flat_map(|device| ["--device".into(), device]));
    if arguments.quiet {
        options.push("--quiet".into());
    }
    options
}

/// Makes `stop` true when stdin ends: the program that holds its other end asked for it, or is gone.
pub(super) fn stop_with_parent(stop: &'static AtomicBool) {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        stop.store(true, Relaxed);
    });
}
