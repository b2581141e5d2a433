//! Listens, serves connections and stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

use crate::api::{self, documents};
use crate::app::App;
use crate::config::Config;
use crate::error::ServeError;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::models::{Models, has_scores};
use crate::peer::Peer;
use crate::queue::BatchLimits;
use crate::scheduler::Scheduler;

/// Most bytes of a request's headers and of what is read ahead of a body.
const READ_BUFFER: usize = 64 << 10;
/// Pause after the system refused a connection, for instance because there are too many open files.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Time for the request of a connection that is accepted when the server stops.
const LATE_PAUSE: Duration = Duration::from_secs(1);

/// A server whose models are loaded.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    reload_every: Option<Duration>,
}

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
        let places = app.limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        let acceptor = Acceptor {
            router: api::router(Arc::clone(&app)),
            app: Arc::clone(&app),
            graceful: GracefulShutdown::new(),
            places: Arc::new(Semaphore::new(places)),
        };
        acceptor.accept(&listener, stop).await;
        app.stopping.store(true, Ordering::Relaxed);
        let delay = app.limits.drain_delay;
        if !delay.is_zero() {
            tracing::info!(seconds = delay.as_secs_f64(), "stopping: further connections are accepted");
            acceptor.accept(&listener, tokio::time::sleep(delay)).await;
        }
        let mut late = acceptor.accept_waiting(listener);
        let graceful = acceptor.graceful;
        tracing::info!(
            connections = graceful.count() + late.len(),
            "stopping: accepted requests are completed"
        );
        let complete = async {
            graceful.shutdown().await;
            while late.join_next().await.is_some() {}
        };
        let open = match tokio::time::timeout(app.limits.shutdown_timeout, complete).await {
            Ok(()) => 0,
            // Some of the late ones may still wait for a place.
            Err(_) => usize::try_from(app.metrics.connections().get()).unwrap_or(0).max(late.len()).max(1),
        };
        app.scheduler.close(open > 0);
        open
    }
}

/// Accepts connections.
struct Acceptor {
    app: Arc<App>,
    router: Router,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
}

impl Acceptor {
    /// Serves the connections of `listener` until `stop` is ready.
    async fn accept(&self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                // Further clients wait in the system's queue.
                let place = Arc::clone(&self.places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(&self.app, self.router.clone(), stream, peer, true);
                    let connection = self.graceful.watch(connection);
                    let app = Arc::clone(&self.app);
                    tokio::spawn(async move {
                        serve(&app, connection, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }

    /// Accepts the connections that wait in the system's queue, which it would reset, and closes `listener`. Each is served for one
    /// request.
    fn accept_waiting(&self, listener: TcpListener) -> JoinSet<()> {
        let mut late = JoinSet::new();
        let Ok(listener) = listener.into_std() else { return late };
        // Until there is none.
        while let Ok((stream, peer)) = listener.accept() {
            let (app, router, places) =
                (Arc::clone(&self.app), self.router.clone(), Arc::clone(&self.places));
            late.spawn(async move {
                let _place = places.acquire_owned().await;
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                let Ok(stream) = stream else { return };
                // The server does not wait long for clients without a request.
                if tokio::time::timeout(LATE_PAUSE, stream.readable()).await.is_ok() {
                    serve(&app, connection(&app, router, stream, peer, false), peer).await;
                }
            });
        }
        late
    }
}

/// Serves a connection to its end.
async fn serve(app: &App, connection: impl Future<Output = hyper::Result<()>>, peer: SocketAddr) {
    app.metrics.connections().inc();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "the connection ended");
    }
    app.metrics.connections().dec();
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
        let is_asked_for = match request {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // A file that makes a backend panic must not end loading for ever.
        let loaded = catch_unwind(AssertUnwindSafe(|| match is_asked_for {
            true => app.reload_all(),
            false => app.models.reload(false),
        }));
        if loaded.is_err() {
            tracing::error!("models were not loaded again: the program panicked");
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
    keep_alive: bool,
) -> http1::Connection<Stream, Answering> {
    // Answers are written whole: nothing is gained by collecting them.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.limits.io_timeout));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(keep_alive)
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
