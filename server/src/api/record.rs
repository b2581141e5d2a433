//! Request ids, the log and metrics of every request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use rand::RngExt;

use crate::app::App;
use crate::models::Model;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::tagging::Answers;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Longest id of a client that is used.
const LONGEST_ID: usize = 128;

/// The work for a request, for the log and the header `Server-Timing`.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    model: String,
    texts: usize,
    failed: usize,
    waited: Duration,
    tagged: Duration,
}

impl Work {
    pub(crate) fn of(model: &Model, answers: &Answers) -> Self {
        let Answers { objects, failed, waited, tagged } = answers;
        let (model, texts) = (model.name.clone(), objects.len());
        Self { model, texts, failed: *failed, waited: *waited, tagged: *tagged }
    }
}

/// The id of a request: the client's, if it is one that can be logged, else a random one.
fn id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID);
    let is_usable = |id: &&HeaderValue| {
        !id.is_empty() && id.len() <= LONGEST_ID && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let random = || format!("{:032x}", rand::rng().random::<u128>());
    let made = || HeaderValue::try_from(random()).unwrap_or_else(|_| HeaderValue::from_static("none"));
    given.filter(is_usable).cloned().unwrap_or_else(made)
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) async fn record(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = id(&request);
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let elapsed = began.elapsed();
    let status = response.status().as_u16();
    app.metrics.request(matched.as_deref().unwrap_or("other"), status, elapsed);
    let problem = response.extensions().get::<Problem>();
    let kind = problem.map(|problem| problem.kind);
    if let Some(kind) = kind {
        app.metrics.error(kind);
    }
    let shown = String::from_utf8_lossy(id.as_bytes()).into_owned();
    let work = response.extensions_mut().remove::<Work>();
    let total = milliseconds(elapsed);
    tracing::info!(
        request_id = shown,
        peer,
        %method,
        path,
        status,
        milliseconds = total,
        error = kind,
        model = work.as_ref().map(|work| work.model.as_str()),
        texts = work.as_ref().map(|work| work.texts),
        untagged = work.as_ref().map(|work| work.failed),
        waited = work.as_ref().map(|work| milliseconds(work.waited)),
        tagged = work.as_ref().map(|work| milliseconds(work.tagged)),
        "request"
    );
    let timing = match &work {
        None => format!("total;dur={total}"),
        Some(work) => format!(
            "queue;dur={}, tag;dur={}, total;dur={total}",
            milliseconds(work.waited),
            milliseconds(work.tagged)
        ),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if let Ok(timing) = HeaderValue::try_from(timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
