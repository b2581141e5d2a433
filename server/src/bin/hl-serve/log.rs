//! The log on stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people per event
    #[default]
    Text,
    /// A JSON object per event, each on its own line
    Json,
}

/// The least important events of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Only what failed
    Error,
    /// Also what may be wrong
    Warn,
    /// Also each request
    #[default]
    Info,
    /// Also connections that end early
    Debug,
}

impl LogLevel {
    fn level(self) -> Level {
        match self {
            Self::Error => Level::ERROR,
            Self::Warn => Level::WARN,
            Self::Info => Level::INFO,
            Self::Debug => Level::DEBUG,
        }
    }
}

/// Starts the log.
pub(crate) fn start(format: LogFormat, level: LogLevel) {
    // Events of other crates describe their insides.
    let filter = Targets::new()
        .with_target("hyperloader_server", level.level())
        .with_target("hl_serve", level.level());
    // A line that cannot be written is lost: reporting it on the same stream would fail, too.
    let layer = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.with_target(false).with_ansi(has_colors()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// Whether stderr shows colors, by the same rules as errors.
fn has_colors() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never && io::stderr().is_terminal()
}
