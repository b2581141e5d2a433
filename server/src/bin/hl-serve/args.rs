//! The command line: as typed ([`Args`]) and as the library takes it ([`ServeArgs::config`]).

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueHint};
use hyperloader_cli::{CommonArgs, Documents, ErrorLimits, OutputFormat, choices};
use hyperloader_runtime::{BackendKind, BackendOptions, Device, Guarantee, Mode, Split, TaggerOptions};
use hyperloader_server::{Config, Limits, ModelPath};

use crate::log::{LogFormat, LogLevel};

/// Serve models that `hl-export` wrote over HTTP
///
/// `POST /tag` tags texts and answers as `hl-run --output-format jsonl`. The Open Inference Protocol (version 2) is at `/v2`,
/// metrics for Prometheus are at `/metrics`, a description of all addresses at `/openapi.json`, and a page to try the models
/// at `/`.
///
/// The log goes to stderr. SIGTERM and Ctrl-C complete the requests that were accepted and end the server, a second one ends
/// it at once. SIGHUP loads all models and API keys again.
#[derive(Debug, Parser)]
#[command(
    name = "hl-serve",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_long_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Serve a model on http://127.0.0.1:8080:
    hl-serve mtop.onnx
  Tag two texts with it:
    curl http://127.0.0.1:8080/tag -d '{\"texts\": [\"set an alarm for 7 am\", \"call mom\"]}'
  Serve all models of a bundle on all addresses, with API keys:
    hl-serve taggers/ --bind 0.0.0.0:8080 --api-key-file keys.txt
  Serve two models under other names:
    hl-serve assistant=mtop.onnx music=snips.onnx

Exit codes:
  0  The server was stopped, and all accepted requests were answered
  1  An error in the command line or a file, or requests were not complete in time
  2  An error in hl-serve or in the backend";

/// What `hl-serve` can do besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the OpenAPI description of all addresses
    #[command(after_long_help = "Examples:\n  hl-serve openapi > openapi.json")]
    Openapi,
    #[command(flatten)]
    Documents(Documents),
}

/// The options of plain `hl-serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The models: ONNX files that `hl-export` wrote, or folders of them
    ///
    /// A model has the name of its file without `.onnx`, or the name before `=`. A file with several tasks is a model for each,
    /// with the names of the tasks.
    #[arg(value_name = "[NAME=]FILE", required_unless_present = "ready", value_parser = model(), value_hint = ValueHint::FilePath)]
    models: Vec<ModelPath>,

    /// Ask the server at an address whether it is ready, and end with exit code 0 or 1
    #[arg(long, value_name = "ADDRESS", conflicts_with = "models", value_parser = address)]
    pub(crate) ready: Option<SocketAddr>,

    /// Open the models, print them and end
    #[arg(long)]
    pub(crate) check: bool,

    /// Format of what `--check` prints
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output_format: OutputFormat,

    /// Address and port to listen on; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    bind: SocketAddr,

    /// File with the keys that clients must send, one per line [default: no key is needed]
    ///
    /// A client sends `Authorization: Bearer KEY` or `X-API-Key: KEY`. The page at `/`, its files, `/openapi.json`, `/v2` itself,
    /// `/v2/health/live` and `/v2/health/ready` need no key.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Seconds between looks at the model files; 0 loads models again only on SIGHUP
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_zero)]
    reload_every: Duration,

    /// Maximum number of tokens in a batch, padding included
    #[arg(long, value_name = "N", default_value = "2048")]
    max_batch_tokens: NonZeroUsize,

    /// Maximum number of sentences in a batch
    #[arg(long, value_name = "N", default_value = "32")]
    batch_size: NonZeroUsize,

    /// Maximum number of texts that wait; requests with further ones are answered 429
    #[arg(long, value_name = "N", default_value = "1024")]
    max_queue: NonZeroUsize,

    /// Maximum size of a request in bytes; of a line, if the request is NDJSON
    #[arg(long, value_name = "BYTES", default_value = "2097152")]
    max_body: NonZeroUsize,

    /// Maximum size of all requests in memory in bytes
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    max_memory: NonZeroUsize,

    /// Maximum number of texts in a request
    #[arg(long, value_name = "N", default_value = "512")]
    max_texts: NonZeroUsize,

    /// Maximum number of tokens in a request; of a line, if the request is NDJSON
    #[arg(long, value_name = "N", default_value = "16384")]
    max_tokens: NonZeroUsize,

    /// Maximum number of connections; further ones wait
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: NonZeroUsize,

    /// Seconds until a request that is not tagged is answered 503 or 504
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,

    /// Seconds that a client may take to send headers, to send a body, or to read an answer
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    io_timeout: Duration,

    /// Seconds between a signal to stop, when `/v2/health/ready` turns 503, and the last connection that is accepted
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    drain_delay: Duration,

    /// Seconds that requests have to complete when the server stops
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    shutdown_timeout: Duration,

    /// Form of the log on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// What the log has: `info` has a line for each request
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub(crate) log_level: LogLevel,

    /// Runtime that runs the models
    #[arg(long, default_value = "auto", value_name = "BACKEND", value_parser = choices(BackendKind::CHOICES))]
    backend: BackendKind,

    /// Device that runs the models: `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Device,

    /// Threads of one operation [default: all cores, divided among the workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Number of batches that run at the same time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// Decoding mode; token classifiers do not decode and ignore it
    #[arg(long, default_value = "verified", value_name = "MODE", value_parser = choices(Mode::CHOICES))]
    decode: Mode,

    /// Compute no scores, which takes less time
    #[arg(long)]
    no_scores: bool,

    #[command(flatten)]
    limits: ErrorLimits,

    /// Which texts are tagged in parts
    #[arg(long, default_value = "long", value_name = "TEXTS", value_parser = choices(Split::CHOICES))]
    split: Split,

    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Folder that keeps the models as ONNX Runtime optimized them for the CPU [default: no cache]
    ///
    /// Later starts are faster, and all workers and processes share the weights in memory. It takes twice the size of the
    /// models.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl ServeArgs {
    /// How the server runs.
    pub(crate) fn config(&self) -> Config {
        Config {
            bind: self.bind,
            models: self.models.clone(),
            tagger: self.tagger(),
            api_keys: self.api_key_file.clone(),
            reload_every: Some(self.reload_every).filter(|every| !every.is_zero()),
            limits: Limits {
                body: self.max_body.get(),
                texts: self.max_texts.get(),
                tokens: self.max_tokens.get(),
                queue: self.max_queue.get(),
                held: self.max_memory.get(),
                batch_tokens: self.max_batch_tokens.get(),
                connections: self.max_connections.get(),
                timeout: self.timeout,
                io_timeout: self.io_timeout,
                drain_delay: self.drain_delay,
                shutdown_timeout: self.shutdown_timeout,
            },
        }
    }

    fn tagger(&self) -> TaggerOptions {
        let cores = || std::thread::available_parallelism().ok().filter(|_| self.workers > 1);
        let ErrorLimits { max_error, max_span_error, confidence } = self.limits;
        let share = || Some((cores()?.get() / usize::from(self.workers)).max(1));
        TaggerOptions {
            backend: BackendOptions {
                kind: self.backend,
                device: self.device,
                threads: self.threads.map(usize::from).or_else(share),
                ort_lib: self.ort_lib.clone(),
                cache: self.cache.clone(),
            },
            batch_size: self.batch_size.get(),
            workers: self.workers.into(),
            split: self.split,
            mode: self.decode,
            scores: !self.no_scores,
            guarantee: Guarantee::of_limits(max_error, max_span_error, confidence),
            ..TaggerOptions::default()
        }
    }
}

/// `FILE` or `NAME=FILE`. A file whose own name has `=` is written with a folder, such as `./a=b.onnx`.
fn model() -> impl TypedValueParser<Value = ModelPath> {
    OsStringValueParser::new().map(|typed| {
        let named = typed.to_str().and_then(|text| text.split_once('=')).filter(|(name, path)| {
            !name.is_empty() && !path.is_empty() && !name.contains(['/', std::path::MAIN_SEPARATOR])
        });
        match named {
            Some((name, path)) => ModelPath { name: Some(name.to_owned()), path: path.into() },
            None => ModelPath { name: None, path: typed.into() },
        }
    })
}

/// An address such as `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.
fn address(typed: &str) -> Result<SocketAddr, String> {
    let found = typed.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "expected an address and a port, such as 127.0.0.1:8080".to_owned())
}

fn seconds(typed: &str) -> Result<Duration, String> {
    match seconds_or_zero(typed) {
        Ok(duration) if duration.is_zero() => Err("expected a number of seconds above 0".to_owned()),
        other => other,
    }
}

fn seconds_or_zero(typed: &str) -> Result<Duration, String> {
    let number = typed.parse::<f64>().ok().filter(|seconds| *seconds <= 86_400.0);
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, at most a day".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Args {
        Args::try_parse_from([&["hl-serve"], args].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_a_command_line() {
        for example in hyperloader_cli::examples::examples::<Args>() {
            let parsed = Args::try_parse_from(&example);
            assert!(parsed.is_ok(), "{}: {}", example.join(" "), parsed.unwrap_err());
        }
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let config = parse(&["a.onnx"]).serve.config();
        assert_eq!(config.limits, Limits::default());
        assert_eq!(
            format!("{:?}", config.tagger),
            format!("{:?}", TaggerOptions { scores: true, ..TaggerOptions::default() })
        );
        assert_eq!(config.bind, ([127, 0, 0, 1], 8080).into());
    }

    #[test]
    fn a_model_may_have_a_name_of_its_own() {
        let named = |name: &str, path: &str| ModelPath { name: Some(name.into()), path: path.into() };
        let plain = |path: &str| ModelPath { name: None, path: path.into() };
        let models = parse(&["a.onnx", "b=c.onnx", "./d=e.onnx", "=f", "g="]).serve.models;
        assert_eq!(
            models,
            [plain("a.onnx"), named("b", "c.onnx"), plain("./d=e.onnx"), plain("=f"), plain("g=")]
        );
    }

    #[test]
    fn times_are_seconds_and_only_reloading_can_be_off() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds_or_zero("0"), Ok(Duration::ZERO));
        for bad in ["0", "-1", "nan", "inf", "1e9", "1s", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(parse(&["a.onnx", "--reload-every", "0"]).serve.config().reload_every, None);
    }
}
