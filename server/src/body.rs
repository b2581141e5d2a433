//! Bodies of requests, read within their limits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;

use crate::app::App;
use crate::problem::Problem;

/// Most bytes of a refused body that are read, so that a client that sends it can read the answer.
const DRAINED: usize = 256 << 20;
/// Most time for it.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Bytes in memory, which are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    gauge: Gauge,
    bytes: i64,
    limit: usize,
}

impl Held {
    pub(crate) fn new(app: &App) -> Self {
        Self { gauge: app.metrics.held().clone(), bytes: 0, limit: app.limits.held }
    }

    /// Counts further bytes.
    ///
    /// # Errors
    /// If all requests together have too many.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.gauge.inc_by(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        match usize::try_from(before.saturating_add(bytes)).is_ok_and(|all| all <= self.limit) {
            true => Ok(()),
            false => Err(Problem::held(self.limit)),
        }
    }

    /// Counts `bytes` in place of those before. What was accepted is not refused.
    fn replace(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.gauge.inc_by(bytes - self.bytes);
        self.bytes = bytes;
    }

    /// Counts `bytes` less.
    pub(crate) fn remove(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(self.bytes);
        self.gauge.dec_by(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

/// A body whose bytes in memory count until it is sent.
struct Holding {
    body: Body,
    _held: Held,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer in memory, which counts in place of its request until it is sent.
pub(crate) fn answer(text: Vec<u8>, mut held: Held) -> Response {
    held.replace(text.len());
    Body::new(Holding { body: Body::from(text), _held: held }).into_response()
}

/// Checks that a body is not compressed.
///
/// # Errors
/// If it is.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Problem::new(
            axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_request",
            format!(
                "the body has the content encoding {}\nhint: send it uncompressed",
                String::from_utf8_lossy(encoding.as_bytes())
            ),
        )),
        _ => Ok(()),
    }
}

/// Reads a whole body.
///
/// # Errors
/// If it is compressed, too large or too slow, or all requests together take too much memory.
pub(crate) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<(Vec<u8>, Held), Problem> {
    check_encoding(headers)?;
    let limit = app.limits.body;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let result = if length.is_some_and(|length| length > limit as u64) {
        Err(too_large(limit))
    } else {
        match tokio::time::timeout(app.limits.io_timeout, collect(app, &mut body, limit)).await {
            Ok(result) => result,
            // The rest would be as slow.
            Err(_) => return Err(slow(app.limits.io_timeout)),
        }
    };
    // A client that waits for permission has not sent the body, and gets the answer in place of the permission.
    if result.is_err() && !headers.contains_key(EXPECT) {
        drain(&mut body).await;
    }
    result
}

pub(crate) fn slow(limit: Duration) -> Problem {
    Problem::slow(format!("the body did not arrive within {} s", limit.as_secs_f64()))
}

pub(crate) fn too_large(limit: usize) -> Problem {
    Problem::too_large(format!(
        "the body has more than {limit} bytes\n\
         hint: send the texts in several requests or as NDJSON, or start the server with a larger `--max-body`"
    ))
}

async fn collect(app: &App, body: &mut Body, limit: usize) -> Result<(Vec<u8>, Held), Problem> {
    let mut held = Held::new(app);
    let mut bytes = Vec::new();
    while let Some(data) = next(body).await? {
        if bytes.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        held.add(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

/// The next bytes of a body; none at its end.
///
/// # Errors
/// If the connection fails.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                // Trailers.
                Err(_) => continue,
            },
            Some(Err(error)) => {
                return Err(Problem::bad_request(format!("the body cannot be read: {error}")));
            }
        }
    }
}

/// Reads and forgets the rest of a body, within limits.
pub(crate) async fn drain(body: &mut Body) {
    let rest = async {
        let mut drained = 0;
        while let Ok(Some(data)) = next(body).await {
            drained += data.len();
            if drained > DRAINED {
                break;
            }
        }
    };
    // What is slow is left unread.
    drop(tokio::time::timeout(DRAIN_TIME, rest).await);
}
