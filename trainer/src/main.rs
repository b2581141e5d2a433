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
        Ok(code) => code,
        Err(error) => {
            eprintln!("hl-train: error: {}", message(&error));
            ExitCode::from(if is_users_error(&error) { 1 } else { 2 })
        }
    }
}

/// The error and its causes, without those that a message above them repeats.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}
