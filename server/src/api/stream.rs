//! Answers line by line, in the order of the texts and in bounded memory.
//!
//! One task reads texts in chunks and has them tagged, at most [`AHEAD`] chunks at a time; another one sends the answers. If the
//! client reads slowly, sending waits, then reading.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::body::{self, Held};
use crate::metrics::Metrics;
use crate::models::{Loaded, Model};
use crate::problem::Problem;
use crate::tagging::{self, AnswerOptions, TokenLimit};

/// Most texts of a chunk.
const CHUNK: usize = 64;
/// Batches of tokens in a chunk.
const CHUNK_BATCHES: usize = 4;
/// Bytes of a token, roughly.
const BYTES_PER_TOKEN: usize = 4;
/// Chunks that are tagged while others are sent.
const AHEAD: usize = 2;

/// Where texts come from.
pub(crate) enum Source {
    /// A body with a text per line.
    Lines(Body),
    /// Texts that are in memory.
    Texts(Vec<String>, Held),
}

/// A line of a body.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Text(String),
    Object { text: String },
}

/// Consecutive texts; each has its number, from 0, and a text or the reason why there is none.
type Chunk = Vec<(usize, Result<String, String>)>;

/// Where a chunk ends.
#[derive(Debug, Clone, Copy)]
struct Size {
    texts: usize,
    bytes: usize,
}

impl Size {
    fn has_room(self, chunk: &Chunk) -> bool {
        let bytes: usize = chunk.iter().filter_map(|(_, text)| Some(text.as_ref().ok()?.len())).sum();
        chunk.len() < self.texts && bytes < self.bytes
    }
}

/// The answer to `source`, which is sent while it is read.
///
/// # Errors
/// If too many texts wait already.
pub(crate) fn respond(
    app: Arc<App>,
    model: &Model,
    options: AnswerOptions,
    source: Source,
) -> Result<Response, Problem> {
    app.scheduler.check_stream()?;
    let (lines, body) = mpsc::channel(AHEAD);
    let (chunks, tagged) = mpsc::channel(AHEAD);
    let place = match source {
        Source::Lines(_) => |at: usize| format!("line {}", at + 1),
        Source::Texts(..) => |at: usize| format!("texts[{at}]"),
    };
    let (io_timeout, metrics) = (app.limits.io_timeout, app.metrics.clone());
    let tagging = Tagging { app, loaded: model.loaded(), options, place };
    tokio::spawn(async move {
        if let Err(problem) = tagging.read(source, &chunks).await {
            drop(chunks.send(Piece::End(problem)).await);
        }
    });
    tokio::spawn(send(tagged, lines, io_timeout, metrics));
    let mut response = Body::new(Lines(body)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// What is sent next.
enum Piece {
    Chunk(Task),
    /// The stream ends before its time.
    End(Problem),
}

/// A task that ends when nobody waits for it.
struct Task(JoinHandle<Result<String, Problem>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
struct Tagging {
    app: Arc<App>,
    /// All answers of a stream come from one model, also if another one is loaded meanwhile.
    loaded: Arc<Loaded>,
    options: AnswerOptions,
    place: fn(usize) -> String,
}

impl Tagging {
    async fn read(self, source: Source, chunks: &mpsc::Sender<Piece>) -> Result<(), Problem> {
        let most = CHUNK.min(self.app.scheduler.most_of_stream());
        // A chunk of long texts ends early, so that its answers are sent early.
        let bytes =
            CHUNK_BATCHES.saturating_mul(self.app.limits.batch_tokens).saturating_mul(BYTES_PER_TOKEN);
        let size = Size { texts: most, bytes };
        match source {
            Source::Texts(texts, held) => {
                let mut texts = texts.into_iter().map(Ok).enumerate();
                loop {
                    let mut chunk = Chunk::new();
                    while size.has_room(&chunk)
                        && let Some(text) = texts.next()
                    {
                        chunk.push(text);
                    }
                    if chunk.is_empty() || !self.start(chunk, Held::new(&self.app), chunks).await {
                        drop(held);
                        return Ok(());
                    }
                }
            }
            Source::Lines(body) => {
                let mut reader =
                    Reader { body, held: Held::new(&self.app), buffer: vec![], scanned: 0, number: 0 };
                while let Some((chunk, held)) = reader.chunk(&self.app, size).await? {
                    if !self.start(chunk, held, chunks).await {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }

    /// Starts to tag a chunk. False if the client is gone.
    async fn start(&self, chunk: Chunk, held: Held, chunks: &mpsc::Sender<Piece>) -> bool {
        let tagging = self.clone();
        let task = tokio::spawn(async move {
            let lines = tagging.tag(chunk).await;
            drop(held);
            lines
        });
        chunks.send(Piece::Chunk(Task(task))).await.is_ok()
    }

    /// The lines of a chunk.
    async fn tag(self, chunk: Chunk) -> Result<String, Problem> {
        let (numbers, texts): (Vec<usize>, Vec<String>) =
            chunk.iter().filter_map(|(at, text)| Some((*at, text.as_ref().ok()?.clone()))).unzip();
        let limits = self.app.limits;
        let count = texts.len();
        let places = timeout(limits.timeout, self.app.scheduler.stream_places(count)).await;
        let places = places.map_err(|_| Problem::timeout(limits.timeout, false))??;
        let place = self.place;
        let of_text = move |at: usize| place(numbers.get(at).copied().unwrap_or_default());
        let answers =
            tagging::tag(&self.app, self.loaded, texts, places, self.options, TokenLimit::Text, of_text)
                .await?;
        let mut objects = answers.objects.into_iter();
        let mut lines = String::new();
        for (at, text) in chunk {
            match text {
                Ok(_) => lines.push_str(&objects.next().unwrap_or_default()),
                Err(message) => lines.push_str(&tagging::failed_object(None, &message, place(at))),
            }
            lines.push('\n');
        }
        Ok(lines)
    }
}

/// Sends the lines of chunks in order.
async fn send(
    mut pieces: mpsc::Receiver<Piece>,
    lines: mpsc::Sender<Bytes>,
    io_timeout: Duration,
    metrics: Metrics,
) {
    while let Some(piece) = pieces.recv().await {
        let result = match piece {
            Piece::Chunk(mut task) => match (&mut task.0).await {
                Ok(result) => result,
                Err(error) => Err(Problem::internal(error.to_string())),
            },
            Piece::End(problem) => Err(problem),
        };
        let is_last = result.is_err();
        if let Err(problem) = &result {
            metrics.error(problem.kind);
            tracing::warn!(kind = problem.kind, error = problem.message, "a stream of lines ended early");
        }
        let text = result.unwrap_or_else(|problem| problem.to_line());
        let sent = timeout(io_timeout, lines.send(text.into())).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// Splits a body into lines.
struct Reader {
    body: Body,
    held: Held,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold no line end.
    scanned: usize,
    number: usize,
}

impl Reader {
    /// The lines that are there, at least one and at most `size`; none at the end of the body.
    ///
    /// # Errors
    /// If a line is too long, the client too slow, or the requests together take too much memory.
    async fn chunk(&mut self, app: &App, size: Size) -> Result<Option<(Chunk, Held)>, Problem> {
        let mut chunk = Chunk::new();
        let mut held = Held::new(app);
        // For a whole line: a trickle is as slow as silence.
        let deadline = Instant::now() + app.limits.io_timeout;
        loop {
            let mut start = 0;
            while size.has_room(&chunk)
                && let Some(length) =
                    self.buffer[start + self.scanned..].iter().position(|byte| *byte == b'\n')
            {
                let end = start + self.scanned + length;
                self.scanned = 0;
                let text = parsed(&self.buffer[start..end]);
                if text.is_some() {
                    held.add(end + 1 - start)?;
                }
                self.push(text, &mut chunk);
                start = end + 1;
            }
            // Once for all lines: what follows them is moved.
            self.buffer.drain(..start);
            self.held.remove(start);
            if !chunk.is_empty() {
                return Ok(Some((chunk, held)));
            }
            if self.buffer.len() > app.limits.body {
                body::drain(&mut self.body).await;
                return Err(body::too_large(app.limits.body));
            }
            self.scanned = self.buffer.len();
            // Blank lines that arrive faster than they are read do not keep the thread from other connections.
            tokio::task::yield_now().await;
            let next = timeout_at(deadline, body::next(&mut self.body)).await;
            match next.map_err(|_| body::slow(app.limits.io_timeout))?? {
                Some(data) => {
                    self.held.add(data.len())?;
                    self.buffer.extend_from_slice(&data);
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.buffer);
                    self.scanned = 0;
                    self.push(parsed(&line), &mut chunk);
                    let is_blank = chunk.is_empty();
                    return Ok((!is_blank).then_some((chunk, held)));
                }
            }
        }
    }

    /// Counts a line, and keeps its text if it has one.
    fn push(&mut self, text: Option<Result<String, String>>, chunk: &mut Chunk) {
        chunk.extend(text.map(|text| (self.number, text)));
        self.number += 1;
    }
}

/// The text of a line, or why it has none. A blank line is no text.
fn parsed(line: &[u8]) -> Option<Result<String, String>> {
    let line = line.trim_ascii();
    let text = |line: Line| match line {
        Line::Text(text) | Line::Object { text } => text,
    };
    let fault = |error| {
        format!(
            "the line is not a text: {error}\nhint: write `{{\"text\": \"...\"}}` or `\"...\"` on each line"
        )
    };
    (!line.is_empty()).then(|| serde_json::from_slice(line).map(text).map_err(fault))
}

/// The body of an answer: what the other end of the channel sends.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
