//! The threads that tag, and the texts that wait for them.
//!
//! A thread that becomes free takes the next batch from the [`Queue`] at once: with one client there is no waiting, with many
//! the batches are full.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{BatchOutput, PartOutput, TextPart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::queue::{BatchLimits, Job, Queue};

/// Threads that tag.
#[derive(Debug)]
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    limits: BatchLimits,
    /// A permit for each text of a request that may wait.
    places: Arc<Semaphore>,
    most: usize,
    /// Streams of lines wait for permits of their own, so that they do not keep requests from the queue.
    stream_places: Arc<Semaphore>,
    most_of_streams: usize,
    metrics: Metrics,
}

#[derive(Debug)]
struct State {
    queue: Queue<Work>,
    closed: bool,
    /// Tokens that a thread tags in a second, of late; 0 if none was tagged.
    speed: f64,
}

/// Places of a request's texts in the queue, which are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Places {
    _permit: OwnedSemaphorePermit,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Texts that wait.
    pub(crate) waiting: usize,
    /// When there may be room.
    pub(crate) retry_after: Duration,
}

/// Why parts were not tagged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Backend(String),
    #[error("the thread that tagged the batch panicked")]
    Panicked,
    #[error("the server stops")]
    Closed,
}

/// The outputs of a request's parts, and when they were made.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) parts: Vec<PartOutput>,
    /// Time until the first part was in a batch.
    pub(crate) waited: Duration,
    /// Time from then until the last batch was done.
    pub(crate) tagged: Duration,
}

/// Parts of a request's texts that wait or are tagged.
#[derive(Debug)]
pub(crate) struct Work {
    loaded: Arc<Loaded>,
    lengths: Vec<usize>,
    abandoned: AtomicBool,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// Empty if the work is abandoned.
    parts: Vec<TextPart>,
    outputs: Vec<Option<PartOutput>>,
    /// Parts that are in no batch yet.
    waiting: usize,
    /// Parts without output.
    missing: usize,
    reply: Option<oneshot::Sender<Result<Outputs, Failure>>>,
    places: Option<Places>,
    submitted: Instant,
    started: Option<Instant>,
}

impl Work {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part, which is in a batch from now on; none if the work is abandoned.
    fn start(&self, part: usize, now: Instant) -> Option<TextPart> {
        let mut progress = self.progress();
        let text = progress.parts.get(part).cloned()?;
        progress.started.get_or_insert(now);
        progress.waiting -= 1;
        if progress.waiting == 0 {
            progress.places = None;
        }
        Some(text)
    }

    fn finish(&self, part: usize, output: PartOutput) {
        let mut progress = self.progress();
        progress.outputs[part] = Some(output);
        progress.missing -= 1;
        if progress.missing == 0 {
            progress.complete();
        }
    }
}

impl Job for Work {
    fn group(&self) -> usize {
        Arc::as_ptr(&self.loaded) as usize
    }

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// Waits for submitted work. If it is dropped, parts that are in no batch yet are not tagged.
#[derive(Debug)]
pub(crate) struct Ticket {
    work: Arc<Work>,
    reply: oneshot::Receiver<Result<Outputs, Failure>>,
}

impl Ticket {
    /// The outputs of all parts.
    ///
    /// # Errors
    /// If a batch failed.
    pub(crate) async fn outputs(&mut self) -> Result<Outputs, Failure> {
        (&mut self.reply).await.unwrap_or(Err(Failure::Closed))
    }

    /// Whether a part was in a batch already.
    pub(crate) fn has_started(&self) -> bool {
        self.work.progress().started.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.work.abandoned.store(true, Ordering::Relaxed);
        let mut progress = self.work.progress();
        progress.parts.clear();
        progress.places = None;
    }
}

impl Scheduler {
    /// Starts `threads` threads; at most `most` texts of requests and half as many of streams may wait.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        threads: usize,
        most: usize,
        limits: BatchLimits,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let state = State { queue: Queue::new(), closed: false, speed: 0.0 };
        let most = most.min(Semaphore::MAX_PERMITS);
        let most_of_streams = most.div_ceil(2);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            limits,
            places: Arc::new(Semaphore::new(most)),
            most,
            stream_places: Arc::new(Semaphore::new(most_of_streams)),
            most_of_streams,
            metrics,
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("tag-{number}")).spawn(move || shared.work())
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Places for `texts` texts, if they are free now.
    ///
    /// # Errors
    /// If there are not so many.
    pub(crate) fn try_places(&self, texts: usize) -> Result<Places, Full> {
        let places = Arc::clone(&self.shared.places).try_acquire_many_owned(count(texts));
        places.map(|_permit| Places { _permit }).map_err(|_| self.full())
    }

    /// Checks that a stream may begin.
    ///
    /// # Errors
    /// If the texts of other streams fill their places.
    pub(crate) fn check_stream(&self) -> Result<(), Full> {
        match self.shared.stream_places.available_permits() {
            0 => Err(self.full()),
            _ => Ok(()),
        }
    }

    /// The most texts that a stream may have in the queue at once.
    pub(crate) fn most_of_stream(&self) -> usize {
        self.shared.most_of_streams
    }

    /// Places for `texts` texts of a stream, at most [`Self::most_of_stream`], as soon as they are free.
    ///
    /// # Errors
    /// If there are never so many.
    pub(crate) async fn stream_places(&self, texts: usize) -> Result<Places, Full> {
        if texts > self.shared.most_of_streams {
            return Err(self.full());
        }
        let places = Arc::clone(&self.shared.stream_places).acquire_many_owned(count(texts)).await;
        places.map(|_permit| Places { _permit }).map_err(|_| self.full())
    }

    /// Texts that wait.
    pub(crate) fn waiting(&self) -> usize {
        let Shared { places, most, stream_places, most_of_streams, .. } = &*self.shared;
        (most - places.available_permits()) + (most_of_streams - stream_places.available_permits())
    }

    fn full(&self) -> Full {
        let speed = self.shared.lock().speed;
        // A text has some 30 tokens; the time only has to have the right order.
        let seconds = if speed > 0.0 { 30.0 * self.waiting() as f64 / speed } else { 1.0 };
        Full {
            waiting: self.waiting(),
            retry_after: Duration::from_secs_f64(seconds.clamp(1.0, 60.0).ceil()),
        }
    }

    /// Lets `parts` wait in `places` for a thread.
    pub(crate) fn submit(&self, loaded: Arc<Loaded>, parts: Vec<TextPart>, places: Places) -> Ticket {
        let (sender, reply) = oneshot::channel();
        let lengths: Vec<usize> = parts.iter().map(TextPart::tokens).collect();
        let progress = Progress {
            outputs: vec![None; parts.len()],
            waiting: parts.len(),
            missing: parts.len(),
            parts,
            reply: Some(sender),
            places: Some(places),
            submitted: Instant::now(),
            started: None,
        };
        let (abandoned, progress) = (AtomicBool::new(false), Mutex::new(progress));
        let work = Arc::new(Work { loaded, lengths, abandoned, progress });
        if work.lengths.is_empty() {
            work.progress().complete();
        } else {
            let mut state = self.shared.lock();
            match state.closed {
                true => work.progress().fail(&Failure::Closed),
                false => state.queue.push(Arc::clone(&work)),
            }
            drop(state);
            self.shared.changed.notify_one();
        }
        Ticket { work, reply }
    }

    /// Ends the threads, and waits for them. With `abandon`, what waits is not tagged any more.
    pub(crate) fn close(&self, abandon: bool) {
        let mut state = self.shared.lock();
        state.closed = true;
        if abandon {
            state.queue = Queue::new();
        }
        drop(state);
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread survives the panics of batches.
            drop(thread.join());
        }
    }
}

fn count(texts: usize) -> u32 {
    u32::try_from(texts).unwrap_or(u32::MAX)
}

impl Progress {
    fn complete(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        self.places = None;
        let started = self.started.unwrap_or(self.submitted);
        let outputs = Outputs {
            parts: std::mem::take(&mut self.outputs).into_iter().flatten().collect(),
            waited: started.duration_since(self.submitted),
            tagged: started.elapsed(),
        };
        // The client may be gone.
        drop(reply.send(Ok(outputs)));
    }

    fn fail(&mut self, failure: &Failure) {
        self.places = None;
        if let Some(reply) = self.reply.take() {
            drop(reply.send(Err(failure.clone())));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's work until the queue is closed and empty.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let batch = state.queue.take(self.limits);
            if batch.is_empty() {
                if state.closed && state.queue.is_empty() {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !state.queue.is_empty() {
                self.changed.notify_one();
            }
            drop(state);
            let speed = self.run(&batch);
            drop(batch);
            state = self.lock();
            if let Some(speed) = speed {
                state.speed = if state.speed > 0.0 { 0.9 * state.speed + 0.1 * speed } else { speed };
            }
        }
    }

    /// Runs a batch and gives its outputs to the works. Returns the tokens per second.
    fn run(&self, batch: &[(Arc<Work>, usize)]) -> Option<f64> {
        let now = Instant::now();
        let started = batch.iter().filter_map(|(work, part)| Some((&**work, *part, work.start(*part, now)?)));
        let rows: Vec<(&Work, usize, TextPart)> = started.collect();
        match self.run_rows(&rows) {
            Ok(tokens) => Some(tokens as f64 / now.elapsed().as_secs_f64().max(1e-6)),
            // One part may be at fault: the others are tagged without it.
            Err(_) if rows.len() > 1 => {
                for row in rows.chunks(1) {
                    if let Err(failure) = self.run_rows(row) {
                        fail(row, &failure);
                    }
                }
                None
            }
            Err(failure) => {
                fail(&rows, &failure);
                None
            }
        }
    }

    /// Runs parts as one batch. Returns their tokens.
    fn run_rows(&self, rows: &[(&Work, usize, TextPart)]) -> Result<usize, Failure> {
        let Some((first, ..)) = rows.first() else { return Ok(0) };
        let loaded = &first.loaded;
        let parts: Vec<TextPart> = rows.iter().map(|(.., part)| part.clone()).collect();
        let began = Instant::now();
        // A panic leaves nothing half changed that is used again: outputs are set after the run.
        let result = catch_unwind(AssertUnwindSafe(|| loaded.tagger.run(&parts)));
        let failure = match result {
            Ok(Ok(BatchOutput { outputs, statistics })) => {
                let tokens: usize = parts.iter().map(TextPart::tokens).sum();
                self.metrics.batch(&loaded.name, rows.len(), tokens, began.elapsed(), statistics);
                for ((work, part, _), output) in rows.iter().zip(outputs) {
                    work.finish(*part, output);
                }
                return Ok(tokens);
            }
            Ok(Err(error)) => Failure::Backend(with_causes(&error)),
            Err(_) => Failure::Panicked,
        };
        self.metrics.failed_batch(&loaded.name);
        tracing::error!(model = loaded.name, parts = rows.len(), error = %failure, "a batch failed");
        Err(failure)
    }
}

fn fail(rows: &[(&Work, usize, TextPart)], failure: &Failure) {
    for (work, ..) in rows {
        work.abandoned.store(true, Ordering::Relaxed);
        work.progress().fail(failure);
    }
}
