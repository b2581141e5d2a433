//! A run of `hl-train compare --jobs N`: a process that trains one run, and that stops when its parent ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use hyperloader_cli::{CommonArgs, Console, Exit};
use hyperloader_trainer::compare::Cell;

use crate::compare_args::CompareArgs;

/// How a run ended.
pub(crate) enum RunEnd {
    Done,
    /// The error is printed.
    Failed,
    Stopped,
}

/// Time between two checks whether the child has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// The name of a run in `--job`: the end of its folder.
pub(crate) fn name(cell: &Cell) -> String {
    format!("{}/{}/{}", cell.method.label, cell.fraction, cell.seed)
}

/// Trains a run in a child process. Its log goes to stderr with the run's name before each line.
pub(crate) fn train(
    cell: &Cell,
    args: &CompareArgs,
    console: &Console,
    common: CommonArgs,
    stop: &AtomicBool,
) -> RunEnd {
    let name = name(cell);
    let mut child = match spawn(cell, args, common) {
        Ok(child) => child,
        Err(error) => {
            console.error_at(&name, error.as_ref(), Exit::UserError);
            return RunEnd::Failed;
        }
    };
    let log = child.stderr.take();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lines = log.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok);
            lines.for_each(|line| console.requested(format_args!("{name}: {line}")));
        });
        wait(child, stop)
    })
}

fn spawn(cell: &Cell, args: &CompareArgs, common: CommonArgs) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find the program `hl-train`")?;
    let mut command = Command::new(program);
    command.args(options(cell, args, common));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().context("cannot start `hl-train`")
}

/// Waits for the child, and asks it to stop when `stop` becomes true.
fn wait(mut child: Child, stop: &AtomicBool) -> RunEnd {
    loop {
        if stop.load(Relaxed) {
            drop(child.stdin.take());
        }
        match child.try_wait() {
            Ok(None) => std::thread::sleep(PAUSE),
            Ok(Some(status)) if status.success() => return RunEnd::Done,
            Ok(Some(status)) if status.code() == Some(i32::from(Exit::Interrupted.code())) => {
                return RunEnd::Stopped;
            }
            Ok(Some(_)) | Err(_) => return RunEnd::Failed,
        }
    }
}

fn options(cell: &Cell, args: &CompareArgs, common: CommonArgs) -> Vec<OsString> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = (cores / usize::from(args.jobs)).max(1);
    let threads = cell.method.config.training.threads.unwrap_or(share);
    let mut options: Vec<OsString> =
        ["compare", "--no-progress", "--job", &name(cell), "--threads", &threads.to_string(), "--config"]
            .map(OsString::from)
            .into();
    options.push(args.config.clone().into());
    let data = args.data.iter().map(|data| data.as_os_str().to_owned());
    options.extend(data.flat_map(|data| ["--data".into(), data]));
    let device = args.compute.device.iter().map(|device| device.to_string().into());
    options.extend(device.flat_map(|device| ["--device".into(), device]));
    if common.quiet {
        options.push("--quiet".into());
    }
    options
}

/// Makes `stop` true when stdin ends: the parent asked this process to stop, or has ended.
pub(crate) fn stop_with_parent(stop: &'static AtomicBool) {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        stop.store(true, Relaxed);
    });
}
