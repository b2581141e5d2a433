//! `hl-train`: trains multi-task T5 taggers.
#![allow(clippy::print_stderr)] // Errors go to stderr.

use std::process::ExitCode;

use clap::Parser;
use hyperloader_trainer::cli::{Arguments, is_users_error, run};

fn main() -> ExitCode {
    fix_cublas_workspace();
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

/// cuBLAS adds up in one order only with a workspace of fixed size, which it reads from the environment. The size is what
/// libtorch takes anyway.
fn fix_cublas_workspace() {
    const NAME: &str = "CUBLAS_WORKSPACE_CONFIG";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: no other thread runs yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(NAME, ":4096:8");
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
