//! The command-line front end that `hl-train`, `hl-export`, `hl-run` and `hl-serve` share.
//!
//! A program defines its arguments with clap, implements [`Program`] and calls [`main`]. It prints through a
//! [`Console`]: data to stdout, everything else to stderr.
//!
//! - [`program`]: parses the arguments, runs the program, turns the result into an exit code
//! - [`console`]: notes, warnings, errors and progress bars on stderr
//! - [`output`]: stdout with closed pipes and full disks
//! - [`records`]: the records of a command as `text`, `json` or `jsonl`
//! - [`error`]: how an error, its causes and its hints are printed
//! - [`exit`]: exit codes
//! - [`interrupt`]: Ctrl-C, and how the system asks a program to end
//! - [`args`]: options that all programs have: `--color`, `--quiet`, `--output-format`
//! - [`mod@choices`]: options whose value is one of a few names
//! - [`limits`]: options that withhold uncertain tags
//! - [`documents`]: the commands `completions` and `man`
//! - [`examples`]: the examples of help texts, for tests
//! - [`runs`]: where runs are searched for

pub mod args;
pub mod choices;
pub mod console;
pub mod documents;
pub mod error;
pub mod examples;
pub mod exit;
pub mod interrupt;
pub mod limits;
pub mod output;
pub mod program;
pub mod records;
pub mod runs;

pub use args::{CommonArgs, FormatArgs, OutputFormat};
pub use choices::choices;
pub use console::Console;
pub use documents::Documents;
pub use exit::Exit;
pub use interrupt::{Scope, stop_on_interrupt};
pub use limits::ErrorLimits;
pub use program::{Program, main};
pub use records::Records;
