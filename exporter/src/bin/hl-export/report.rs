//! What goes to stderr, and the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use hyperloader_exporter::ExportError;

/// The user's error.
const USER: u8 = 1;
/// Our error, or that of a runtime.
const INTERNAL: u8 = 2;

/// Writes to stderr and remembers the worst that happened.
#[derive(Debug)]
pub(crate) struct Reporter {
    quiet: bool,
    exit_code: u8,
}

impl Reporter {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, exit_code: 0 }
    }

    /// What is being done.
    pub(crate) fn note(&self, message: &dyn Display) {
        if !self.quiet {
            print(message);
        }
    }

    /// What the user should know even if nothing else.
    pub(crate) fn warn(&self, message: &dyn Display) {
        print(&format!("warning: {message}"));
    }

    pub(crate) fn failed(&mut self, error: &anyhow::Error) {
        print(&format!("error: {}", message(error)));
        let internal = error.downcast_ref().is_some_and(ExportError::is_internal);
        self.exit_code = self.exit_code.max(if internal { INTERNAL } else { USER });
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.exit_code.into()
    }
}

/// An error and its causes, but for those that it tells itself.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |message, cause| match () {
        () if message.is_empty() => cause,
        () if message.contains(&cause) => message,
        () => format!("{message}: {cause}"),
    })
}

/// Prints help or version to stdout, or what is wrong with the command line to stderr.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever closes the pipe has read enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    print(&error.render().to_string().trim_end());
    USER.into()
}

fn print(message: &dyn Display) {
    // Nothing is left to tell if stderr is closed.
    let _ = writeln!(io::stderr().lock(), "hl-export: {message}");
}
