//! The server and its signals.

use anyhow::{Context, Result};
use hyperloader_cli::Exit;
use hyperloader_server::{Config, Reloader, ServeError, Server, remove_copies};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::args::ServeArgs;
use crate::log::{self, LogLevel};
use crate::open_files;

/// Threads that serve connections; tagging has its own.
const THREADS: usize = 2;
/// Most threads that split texts into tokens and write answers.
const BLOCKING: usize = 4;

pub(crate) fn run(args: &ServeArgs, quiet: bool) -> Result<Exit> {
    let level = if quiet && args.log_level == LogLevel::Info { LogLevel::Warn } else { args.log_level };
    log::start(args.log_format, level);
    let mut config = args.config();
    let asked_for = config.limits.connections;
    if let Some(most) = open_files::raise().filter(|most| *most < asked_for) {
        tracing::warn!(
            "at most {most} connections, not {asked_for}: the system limits the number of open files (`ulimit -n`)"
        );
        config.limits.connections = most;
    }
    let runtime = runtime()?;
    // The address is taken before models are loaded: another server there is reported at once.
    let listener = runtime.block_on(bind(&config))?;
    let hang_up = runtime.block_on(async { HangUp::new() }).context("cannot listen for SIGHUP")?;
    let ending = runtime.block_on(async { Ending::new() }).context("cannot listen for signals")?;
    // Until models are loaded, a signal ends the program at once.
    let loading = runtime.spawn(async move {
        let mut ending = ending;
        ending.wait().await;
        end();
    });
    let server = Server::open(&config)?;
    let ending = runtime.block_on(async { Ending::new() }).context("cannot listen for signals")?;
    let signals = Signals { ending, hang_up };
    loading.abort();
    server.notices().iter().for_each(|notice| tracing::warn!("{notice}"));
    for model in server.models() {
        let field = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
        tracing::info!(model = field("name"), task = field("task"), backend = field("backend"), "loaded");
    }
    if !config.bind.ip().is_loopback() && config.api_keys.is_none() {
        tracing::warn!(
            "other machines can use the server without a key: set `--api-key-file`, or use a proxy that asks for one"
        );
    }
    let reloader = server.reloader()?;
    let open = runtime.block_on(async {
        let address = listener.local_addr().context("cannot read the address that is listened on")?;
        tracing::info!("listening on http://{address}");
        anyhow::Ok(server.run(listener, signals.stop(reloader)).await)
    })?;
    // Those of a model that is being loaded again.
    remove_copies();
    // Requests that were not complete in time are abandoned.
    runtime.shutdown_background();
    match open {
        0 => {
            tracing::info!("stopped: all accepted requests were answered");
            Ok(Exit::Success)
        }
        open => {
            tracing::error!(connections = open, "stopped: requests were not complete in time");
            Ok(Exit::UserError)
        }
    }
}

fn runtime() -> Result<Runtime, ServeError> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|source| ServeError::System { source })
}

async fn bind(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.bind;
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// SIGHUP, which would end a program that does not listen for it.
#[cfg(unix)]
struct HangUp(tokio::signal::unix::Signal);

#[cfg(unix)]
impl HangUp {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Self)
    }
}

/// The signals that end the program.
#[cfg(unix)]
struct Ending {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Ending {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Ending;

#[cfg(not(unix))]
impl Ending {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}

/// The signals of the system.
struct Signals {
    ending: Ending,
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    hang_up: HangUp,
}

#[cfg(unix)]
impl Signals {
    /// Waits until the server should stop. The next signal then ends the process.
    async fn stop(mut self, reloader: Reloader) {
        loop {
            tokio::select! {
                () = self.ending.wait() => break,
                _ = self.hang_up.0.recv() => reloader.reload(),
            }
        }
        tokio::spawn(async move {
            self.ending.wait().await;
            end();
        });
    }
}

#[cfg(not(unix))]
struct HangUp;

#[cfg(not(unix))]
impl HangUp {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }
}

#[cfg(not(unix))]
impl Signals {
    async fn stop(mut self, _: Reloader) {
        self.ending.wait().await;
        tokio::spawn(async move {
            self.ending.wait().await;
            end();
        });
    }
}

#[allow(clippy::exit, reason = "the second signal must not wait for requests")]
fn end() {
    remove_copies();
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
