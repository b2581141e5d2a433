//! `cargo xtask setup | demo | test`: fetches the native libraries, shows the chain at work, checks the workspace.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A task runner speaks to a person.

mod checks;
mod commands;
mod demo;
mod setup;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the HyperLoader workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch libtorch and ONNX Runtime into `.native/`
    Setup,
    /// Train, export and tag: the three programs on bundled data
    Demo {
        /// Updates of the demo's training
        #[arg(long, value_name = "N")]
        steps: Option<u64>,
    },
    /// Check formats, lints, tests and docs
    Test,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo { steps } => demo::run(steps),
        Task::Test => checks::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
