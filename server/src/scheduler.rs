//! The threads that tag, and the texts that wait for them.
//!
//! A thread that becomes free takes the next batch from the [`Queue`] at once: with one client there is no waiting, with many
//! the batches are full.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{BatchOutput, TextPart};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::queue::{BatchLimits, Queue};
use crate::work::{Failure, Patience, Places, Ticket, Tokens, Work};

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
    /// Tokens of requests that wait or are tagged.
    waiting_tokens: Arc<AtomicUsize>,
    workers: usize,
    metrics: Metrics,
}

/// Batches of tokens that may wait before the speed is known.
const FIRST_BATCHES: usize = 8;

#[derive(Debug)]
struct State {
    queue: Queue<Work>,
    closed: bool,
    /// Tokens that a thread has recently tagged per second; 0 before the first batch.
    speed: f64,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Texts that wait.
    pub(crate) waiting: usize,
    /// When there may be room.
    pub(crate) retry_after: Duration,
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
            waiting_tokens: Arc::default(),
            workers: threads.max(1),
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
        places.map(Places::new).map_err(|_| self.full())
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
        places.map(Places::new).map_err(|_| self.full())
    }

    /// Texts that wait.
    pub(crate) fn waiting(&self) -> usize {
        let Shared { places, most, stream_places, most_of_streams, .. } = &*self.shared;
        (most - places.available_permits()) + (most_of_streams - stream_places.available_permits())
    }

    /// Counts the tokens of a request, if they can be tagged within half of `timeout` together with what waits already.
    ///
    /// A request that need not wait for others is never refused.
    ///
    /// # Errors
    /// If too many tokens wait.
    pub(crate) fn try_tokens(&self, tokens: usize, timeout: Duration) -> Result<Tokens, Full> {
        let state = self.shared.lock();
        let most = match self.shared.speed(&state) {
            speed if speed > 0.0 => speed * timeout.as_secs_f64() / 2.0,
            _ => FIRST_BATCHES.saturating_mul(self.shared.limits.tokens) as f64,
        };
        // Tokens are counted under the lock, so that two requests cannot both be the last.
        let waiting = self.shared.waiting_tokens.load(Ordering::Relaxed);
        if waiting > 0 && waiting.saturating_add(tokens) as f64 > most {
            drop(state);
            return Err(self.full());
        }
        Ok(Tokens::new(&self.shared.waiting_tokens, tokens))
    }

    fn full(&self) -> Full {
        let speed = self.shared.speed(&self.shared.lock());
        let tokens = self.shared.waiting_tokens.load(Ordering::Relaxed);
        let seconds = if speed > 0.0 { tokens as f64 / speed } else { 1.0 };
        Full {
            waiting: self.waiting(),
            retry_after: Duration::from_secs_f64(seconds.clamp(1.0, 60.0).ceil()),
        }
    }

    /// Lets `parts` wait in `places` for a thread.
    pub(crate) fn submit(
        &self,
        loaded: Arc<Loaded>,
        parts: Vec<TextPart>,
        places: Places,
        patience: Patience,
    ) -> Ticket {
        let (work, ticket) = Work::new(loaded, parts, places, patience);
        if !work.is_complete() {
            let mut state = self.shared.lock();
            match state.closed {
                true => work.fail(&Failure::Closed),
                false => state.queue.push(work),
            }
            drop(state);
            self.shared.changed.notify_one();
        }
        ticket
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tokens that all threads together have recently tagged per second; 0 before the first batch.
    fn speed(&self, state: &State) -> f64 {
        state.speed * self.workers as f64
    }

    /// A thread's work until the queue is closed and empty.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let batch = state.queue.take(self.limits, Instant::now());
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
            // All of it was abandoned.
            Ok(0) => None,
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
        let loaded = first.loaded();
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
    rows.iter().for_each(|(work, ..)| work.fail(failure));
}
