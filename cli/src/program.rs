//! From the command line to the exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{ColorWhen, CommonArgs};
use crate::console::Console;
use crate::exit::Exit;

/// A program: its command line and what it does.
pub trait Program: Parser {
    /// Defaults of environment variables that libraries read. A variable that the user has set is kept.
    const VARIABLES: &'static [(&'static str, &'static str)] = &[];

    /// The options that all programs have.
    fn common(&self) -> CommonArgs;

    /// Does what the command line says. Errors that do not end the program go to [`Console::error`].
    ///
    /// # Errors
    /// The error that ended the program; [`main`] prints it.
    fn run(self, console: &Console) -> Result<Exit>;

    /// Who can correct an error of [`Self::run`]: [`Exit::UserError`] or [`Exit::InternalError`].
    fn classify(error: &anyhow::Error) -> Exit;
}

/// The `main` function of a program.
///
/// - Help, version and data on stdout: a closed pipe is no error, a full disk is one.
/// - A wrong command line is printed to stderr and ends with [`Exit::UserError`].
/// - An error is printed with its causes and hints, and [`Program::classify`] gives the exit code.
/// - A panic is a bug of the program: it ends with [`Exit::InternalError`].
pub fn main<P: Program>() -> ExitCode {
    set_variables(P::VARIABLES);
    std::panic::set_hook(Box::new(print_panic));
    catch_unwind(run::<P>).unwrap_or(Exit::InternalError).into()
}

fn set_variables(variables: &[(&str, &str)]) {
    for (name, value) in variables.iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
        // SAFETY: no other thread runs yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(name, value);
        }
    }
}

fn run<P: Program>() -> Exit {
    match P::try_parse() {
        Ok(program) => {
            let console = Console::new(program.common());
            // The console keeps no state that a panic could leave half changed: it prints whole lines.
            let result = catch_unwind(AssertUnwindSafe(|| program.run(&console)));
            let exit = match result {
                Ok(Ok(exit)) => exit,
                Ok(Err(error)) => {
                    console.error(error.as_ref(), P::classify(&error));
                    Exit::Success
                }
                Err(_) => Exit::InternalError,
            };
            finish(&console).max(exit)
        }
        Err(answer) => print_answer(&answer),
    }
}

/// Writes the rest of stdout; gives the worst exit code of all errors.
fn finish(console: &Console) -> Exit {
    if let Err(error) = console.flush() {
        console.error(error.as_ref(), Exit::UserError);
    }
    console.exit()
}

/// Prints help and version to stdout, or a usage error to stderr.
fn print_answer(answer: &clap::Error) -> Exit {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let color = ColorWhen::find(args.iter().map(AsRef::as_ref));
    let console = Console::new(CommonArgs { color, quiet: false });
    let text = answer.render().ansi().to_string();
    if answer.use_stderr() {
        drop(anstream::stderr().write_all(text.as_bytes()));
        return Exit::UserError;
    }
    if let Err(error) = console.print(&text) {
        console.error(error.as_ref(), Exit::UserError);
    }
    finish(&console)
}

fn print_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("unknown reason");
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}"),
        _ => String::new(),
    };
    let error = anyhow::anyhow!(
        "internal error{place}: {message}\n{backtrace}\
         hint: this is a bug in the program; report it with the command that you ran and the output with RUST_BACKTRACE=1"
    );
    drop(anstream::stderr().write_all(crate::error::error(None, error.as_ref()).as_bytes()));
}
