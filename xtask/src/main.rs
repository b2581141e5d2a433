//! `cargo xtask setup | build | backbone | demo | test | book | hints | web | conformance`: the tasks of the HyperLoader workspace.
//!
//! - [`setup`]: fetches the native libraries into `.native/`
//! - [`programs`]: builds the programs
//! - [`demo`]: trains, exports and tags with the real programs
//! - [`checks`]: what continuous integration runs
//! - [`dependencies`]: licenses, banned crates and sources, by the rules of `deny.toml`
//! - [`book`]: builds the book in `docs/`
//! - [`hints`]: the list of messages in the book
//! - [`web`]: the packages of npm for `hl-export --web`
//! - [`conformance`]: long checks that need programs from outside the workspace
//! - [`commands`]: running other programs
#![allow(clippy::print_stdout, clippy::print_stderr)] // A task runner speaks to a person.

mod book;
mod checks;
mod commands;
mod conformance;
mod demo;
mod dependencies;
mod hints;
mod programs;
mod setup;
mod web;

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
    /// Fetch libtorch and ONNX Runtime and build hl-train, hl-export and hl-run
    Build {
        #[command(flatten)]
        options: programs::Options,
    },
    /// Fetch a pretrained model into `.native/backbones/`
    Backbone {
        /// The model
        #[arg(value_enum)]
        model: setup::backbone::Model,
    },
    /// Train, export and tag: the three programs on bundled data
    Demo {
        /// Updates of the demo's training
        #[arg(long, value_name = "N")]
        steps: Option<u64>,
    },
    /// Check formats, lints, dependencies, tests and docs
    Test,
    /// Build the book into `target/book`
    Book {
        /// Rebuild and reload the page in a browser whenever a file changes
        #[arg(long)]
        serve: bool,
    },
    /// List every message with a hint in `docs/troubleshooting.md`
    Hints,
    /// Fetch the packages of npm that `hl-export --web` needs into `.native/web`
    Web,
    /// Run the checks that take long or need programs from outside the workspace, such as Python
    Conformance {
        /// Run only these checks
        #[arg(value_enum)]
        checks: Vec<conformance::Check>,
        #[command(flatten)]
        options: Box<conformance::Options>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Build { options } => programs::run(&options),
        Task::Backbone { model } => setup::backbone::run(model),
        Task::Demo { steps } => demo::run(steps),
        Task::Test => checks::run(),
        Task::Book { serve } => book::run(serve),
        Task::Hints => hints::run(),
        Task::Web => web::run(),
        Task::Conformance { checks, options } => conformance::run(&checks, &options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
