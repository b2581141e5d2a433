//! Options that all programs have.

use std::ffi::OsStr;

use anstream::ColorChoice;
use clap::{Args, ValueEnum};

/// Options that every program and subcommand accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct CommonArgs {
    /// When to use colors
    ///
    /// `auto` uses colors on a terminal, unless the environment says otherwise: `NO_COLOR` and `CLICOLOR=0` disable
    /// them, `CLICOLOR_FORCE=1` enables them everywhere, and a terminal with `TERM=dumb` gets none.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true, display_order = 900)]
    pub color: ColorWhen,

    /// Print only warnings and errors to stderr
    #[arg(short, long, global = true, display_order = 901)]
    pub quiet: bool,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal that supports colors
    #[default]
    Auto,
    /// Also in files and pipes
    Always,
    /// Not at all
    Never,
}

impl ColorWhen {
    /// The choice in `args`, read before clap has parsed them: help texts and usage errors follow it, too.
    pub(crate) fn find<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let mut args = args.into_iter().map_while(OsStr::to_str).take_while(|arg| *arg != "--");
        let mut found = Self::default();
        while let Some(arg) = args.next() {
            let value = match arg.strip_prefix("--color") {
                Some("") => args.next(),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            };
            found = value.and_then(|value| Self::from_str(value, false).ok()).unwrap_or(found);
        }
        found
    }

    /// Makes this choice the one of stdout and stderr.
    pub(crate) fn apply(self) {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// The format of the data on stdout, for commands that print data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct FormatArgs {
    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output_format: OutputFormat,
}

/// The format of data on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people; it may change between versions
    #[default]
    Text,
    /// One JSON document; an array if the command prints several records
    Json,
    /// JSON Lines: one JSON object per record, each on its own line
    Jsonl,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_of_colors_is_found_without_a_parser() {
        let find = |args: &[&str]| ColorWhen::find(args.iter().map(OsStr::new));
        assert_eq!(find(&["--steps", "3"]), ColorWhen::Auto);
        assert_eq!(find(&["--color", "never", "corpora"]), ColorWhen::Never);
        assert_eq!(find(&["corpora", "--color=always"]), ColorWhen::Always);
        assert_eq!(find(&["--color=always", "--color=never"]), ColorWhen::Never);
        assert_eq!(find(&["--color", "sometimes"]), ColorWhen::Auto);
        assert_eq!(find(&["--", "--color", "never"]), ColorWhen::Auto);
        assert_eq!(find(&["--color"]), ColorWhen::Auto);
    }
}
