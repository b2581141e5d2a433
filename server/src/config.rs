//! How the server runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyperloader_runtime::TaggerOptions;

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 is any free one.
    pub bind: SocketAddr,
    /// Model files, and folders of them.
    pub models: Vec<ModelPath>,
    /// How taggers run. `batch_size` is the most parts in a batch, `workers` the number of threads that tag. With `scores`,
    /// answers have them unless a request or the mode says otherwise.
    pub tagger: TaggerOptions,
    /// The file with the keys that clients must send; none if absent.
    pub api_keys: Option<PathBuf>,
    /// How often files are looked at; never if absent.
    pub reload_every: Option<Duration>,
    /// Bounds on requests and on the server.
    pub limits: Limits,
}

/// A file or folder with taggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPath {
    /// The name of the model; that of the file without extension if absent.
    pub name: Option<String>,
    /// Path of the file or folder.
    pub path: PathBuf,
}

/// Bounds on requests and on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a request's body; of a line, if the body is NDJSON.
    pub body: usize,
    /// Most texts of a request.
    pub texts: usize,
    /// Most tokens of a request; of a line, if the body is NDJSON.
    pub tokens: usize,
    /// Most texts of requests that wait for a tagging thread; NDJSON may have half as many in addition.
    pub queue: usize,
    /// Most bytes of all requests that are read or answered.
    pub held: usize,
    /// Most tokens of a batch, padding included.
    pub batch_tokens: usize,
    /// Most connections; further ones wait.
    pub connections: usize,
    /// Time from the whole request to its answer; of a text, if the body is NDJSON.
    pub timeout: Duration,
    /// Time that a client may take to send a request's headers, then its body, and to read what is sent.
    pub io_timeout: Duration,
    /// Time from the order to stop, when the server reports that it is not ready, until it accepts no further connections.
    pub drain_delay: Duration,
    /// Time that requests have to complete when the server stops, after `drain_delay`.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 2 << 20,
            texts: 512,
            tokens: 16_384,
            queue: 1024,
            held: 64 << 20,
            batch_tokens: 2048,
            connections: 1024,
            timeout: Duration::from_secs(30),
            io_timeout: Duration::from_secs(20),
            drain_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(60),
        }
    }
}
