//! Listens, serves connections and stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

use crate::api::{self, documents};
use crate::app::App;
use crate::config::Config;
use crate::error::ServeError;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::models::{Models, has_scores};
use crate::queue::BatchLimits;
use crate::scheduler::Scheduler;

/// Most bytes of a request's headers and of what is read ahead of a body.
const READ_BUFFER: usize = 64 << 10;
/// Pause after the system refused a connection, for instance because there are too many open files.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A server whose models are loaded.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    reload_every: Option<Duration>,
}

/// The address of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Server {
    /// Loads all models.
    ///
    /// # Errors
    /// If a model or the keys cannot be used.
    pub fn open(config: &Config) -> Result<Self, ServeError> {
        let system = |source| ServeError::System { source };
        let metrics = Metrics::new();
        let keys = config.api_keys.as_deref().map(Keys::read).transpose()?;
        let models = Models::open(&config.models, &config.tagger, &metrics)?;
        let (limits, tagger) = (config.limits, &config.tagger);
        let batch = BatchLimits { rows: tagger.batch_size.max(1), tokens: limits.batch_tokens };
        let scheduler =
            Scheduler::start(tagger.workers, limits.queue, batch, metrics.clone()).map_err(system)?;
        let app = App {
            models,
            scheduler,
            limits,
            keys,
            metrics,
            stopping: false.into(),
            has_scores: has_scores(tagger),
        };
        Ok(Self { app: Arc::new(app), reload_every: config.reload_every })
    }

    /// What `/models` answers about each model.
    pub fn models(&self) -> Vec<Value> {
        self.app.models.all().map(|model| documents::described(&self.app, model)).collect()
    }

    /// What of the options differs from what was asked for, such as a backend that is missing.
    pub fn notices(&self) -> Vec<String> {
        let mut notices: Vec<String> =
            self.app.models.all().flat_map(|model| model.loaded().tagger.backend().notices()).collect();
        notices.sort();
        notices.dedup();
        notices
    }

    /// A handle that loads models and keys again.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn reloader(&self) -> Result<Reloader, ServeError> {
        let (sender, requests) = mpsc::channel();
        let (app, every) = (Arc::clone(&self.app), self.reload_every);
        let work = move || reload(&app, &requests, every);
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(work)
            .map_err(|source| ServeError::System { source })?;
        Ok(Reloader(sender))
    }

    /// Serves `listener` until `stop` is ready, then completes the requests that were accepted.
    ///
    /// Returns the number of connections that were not complete in time.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        let app = self.app;
        let router = api::router(Arc::clone(&app));
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(app.limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                // Further clients wait in the system's queue.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = graceful.watch(connection(&app, router.clone(), stream, peer));
                    let app = Arc::clone(&app);
                    tokio::spawn(async move {
                        app.metrics.connections().inc();
                        if let Err(error) = connection.await {
                            tracing::debug!(%peer, %error, "the connection ended");
                        }
                        app.metrics.connections().dec();
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
        drop(listener);
        app.stopping.store(true, Ordering::Relaxed);
        tracing::info!(connections = graceful.count(), "stopping: accepted requests are completed");
        let open = match tokio::time::timeout(app.limits.shutdown_timeout, graceful.shutdown()).await {
            Ok(()) => 0,
            Err(_) => usize::try_from(app.metrics.connections().get()).unwrap_or(0),
        };
        app.scheduler.close(open > 0);
        open
    }
}

/// A handle that loads models and keys again.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<()>);

impl Reloader {
    /// Loads all models and keys again, also those whose files have not changed.
    pub fn reload(&self) {
        if self.0.send(()).is_err() {
            tracing::debug!("nothing is loaded again: the server has stopped");
        }
    }
}

/// Loads models again: all when it is asked for, and in between those whose files have changed.
fn reload(app: &App, requests: &mpsc::Receiver<()>, every: Option<Duration>) {
    loop {
        let request = match every {
            Some(every) => requests.recv_timeout(every),
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match request {
            Ok(()) => app.reload_all(),
            Err(RecvTimeoutError::Timeout) => app.models.reload(false),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if app.is_stopping() {
            return;
        }
    }
}

type Stream = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

/// A connection that ends if the client does not send its headers, or does not read what is sent.
fn connection(
    app: &App,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
) -> http1::Connection<Stream, Answering> {
    // Answers are written whole: nothing is gained by collecting them.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.limits.io_timeout));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.io_timeout)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), Answering { router, peer })
}

/// Answers the requests of a connection.
#[derive(Debug, Clone)]
struct Answering {
    router: Router,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Answering {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        self.router.clone().call(request)
    }
}
