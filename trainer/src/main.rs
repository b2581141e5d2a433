//! `hl-train`: trains multi-task T5 taggers.
#![allow(clippy::print_stderr)] // Errors go to stderr.

use std::process::ExitCode;

use clap::Parser;
use hyperloader_trainer::cli::{Arguments, is_users_error, run};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and version are answers, too; only a real mistake is the user's error.
            let _ = answer.print();
            return ExitCode::from(u8::from(answer.use_stderr()));
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hl-train: error: {error:#}");
            ExitCode::from(if is_users_error(&error) { 1 } else { 2 })
        }
    }
}
