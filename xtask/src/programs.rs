//! `cargo xtask build`: hl-train, hl-export and hl-run.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::commands::{self, cargo};
use crate::setup;

/// How the programs are built.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Do not optimize the code of the workspace: builds in half the time. libtorch and ONNX Runtime, which do most of the work,
    /// are fetched as they are
    #[arg(long)]
    debug: bool,
    /// Leave tract out, which is half of what there is to build. hl-export then verifies files in ONNX Runtime only
    #[arg(long)]
    without_tract: bool,
}

/// Fetches the libraries and builds the programs. What needs no library is built while they are fetched.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut early = commands::spawn(&mut build(options, &["hl-export", "hl-run"]))?;
    if let Err(error) = setup::run() {
        // hl-train cannot be built without the libraries.
        early.kill()?;
        early.wait()?;
        return Err(error);
    }
    ensure!(early.wait()?.success(), "the build failed");
    commands::run(&mut build(options, &["hl-train", "hl-export", "hl-run"]))
}

/// The build of some programs, always with the features of all three, so that their libraries are built once.
fn build(options: &Options, programs: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("build");
    if !options.debug {
        command.arg("--release");
    }
    for package in ["trainer", "exporter", "runtime"] {
        command.args(["--package", &format!("hyperloader-{package}")]);
    }
    for program in programs {
        command.args(["--bin", program]);
    }
    if options.without_tract {
        let features = "hyperloader-trainer/cli,hyperloader-exporter/cli,hyperloader-runtime/cli,hyperloader-runtime/ort";
        command.args(["--no-default-features", "--features", features]);
    }
    command
}
