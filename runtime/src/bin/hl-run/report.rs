//! Notes and errors on stderr, and the exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use hyperloader_runtime::backend::BackendError;
use hyperloader_runtime::decode::DecoderError;
use hyperloader_runtime::tagger::OpenError;

/// The user's error.
const USER: u8 = 1;
/// Our error, or that of a runtime.
const INTERNAL: u8 = 2;

/// Writes to stderr and remembers whether a line was bad.
#[derive(Debug)]
pub(crate) struct Reporter {
    quiet: bool,
    bad_lines: usize,
}

impl Reporter {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, bad_lines: 0 }
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, message: &str) {
        if !self.quiet {
            print(message);
        }
    }

    /// Something that was asked for.
    pub(crate) fn always(&self, message: &str) {
        print(message);
    }

    /// An input that was skipped.
    pub(crate) fn bad_line(&mut self, place: &str, error: &dyn Error) {
        self.bad_lines += 1;
        print(&format!("{place}: {error}"));
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.bad_lines {
            0 => ExitCode::SUCCESS,
            _ => USER.into(),
        }
    }

    /// Reports the error that ended the program. Whoever closes the pipe has read enough: that is none.
    pub(crate) fn failed(&self, error: &anyhow::Error) -> ExitCode {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return self.exit_code();
        }
        print(&format!("error: {error:#}"));
        if is_internal(error) { INTERNAL.into() } else { USER.into() }
    }
}

/// Prints help or version to stdout, or what is wrong with the command line to stderr.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    print(error.render().to_string().trim_end());
    USER.into()
}

/// Whether a runtime failed on a file that is in order.
fn is_internal(error: &anyhow::Error) -> bool {
    let failed = |error: &BackendError| {
        matches!(error, BackendError::Open { .. } | BackendError::Run { .. } | BackendError::WorkerDied)
    };
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Decoder { error: DecoderError::Backend { error, .. }, .. }) => failed(error),
        Some(OpenError::Backend(error) | OpenError::Classifier { error, .. }) => failed(error),
        Some(_) => false,
        None => error.downcast_ref::<BackendError>().is_some(),
    }
}

fn print(message: &str) {
    // Nothing is left to tell if stderr is closed.
    let _ = writeln!(io::stderr().lock(), "hl-run: {message}");
}
