//! The parts of a request's texts that wait or are tagged, and who waits for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyperloader_runtime::{PartOutput, TextPart};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::models::Loaded;
use crate::queue::Job;

/// Places of a request's texts in the queue, which are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Places {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// Tokens of a request that are not tagged yet, which count until this is dropped.
#[derive(Debug)]
pub(crate) struct Tokens {
    all: Arc<AtomicUsize>,
    left: usize,
}

impl Tokens {
    pub(crate) fn new(all: &Arc<AtomicUsize>, left: usize) -> Self {
        all.fetch_add(left, Ordering::Relaxed);
        Self { all: Arc::clone(all), left }
    }

    fn remove(&mut self, tokens: usize) {
        let tokens = tokens.min(self.left);
        self.all.fetch_sub(tokens, Ordering::Relaxed);
        self.left -= tokens;
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.remove(self.left);
    }
}

/// How long a client waits.
#[derive(Debug)]
pub(crate) enum Patience {
    /// The time until all parts are tagged, and the tokens that were admitted.
    Whole(Duration, Tokens),
    /// The time until the next part is tagged.
    NextPart(Duration),
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
    #[error("the texts were not tagged in time")]
    Late { limit: Duration, has_started: bool },
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
    timeout: Duration,
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
    /// None if each part has the whole time: nobody counts its tokens.
    tokens: Option<Tokens>,
    submitted: Instant,
    /// Since when the client waits.
    since: Instant,
    started: Option<Instant>,
}

impl Work {
    /// Parts that wait, and what waits for them. Without parts, it is complete.
    pub(crate) fn new(
        loaded: Arc<Loaded>,
        parts: Vec<TextPart>,
        places: Places,
        patience: Patience,
    ) -> (Arc<Self>, Ticket) {
        let (sender, reply) = oneshot::channel();
        let lengths: Vec<usize> = parts.iter().map(TextPart::tokens).collect();
        let (timeout, tokens) = match patience {
            Patience::Whole(timeout, tokens) => (timeout, Some(tokens)),
            Patience::NextPart(timeout) => (timeout, None),
        };
        let now = Instant::now();
        let mut progress = Progress {
            outputs: vec![None; parts.len()],
            waiting: parts.len(),
            missing: parts.len(),
            parts,
            reply: Some(sender),
            places: Some(places),
            tokens,
            submitted: now,
            since: now,
            started: None,
        };
        if lengths.is_empty() {
            progress.complete();
        }
        let (abandoned, progress) = (AtomicBool::new(false), Mutex::new(progress));
        let work = Arc::new(Self { loaded, lengths, abandoned, timeout, progress });
        (Arc::clone(&work), Ticket { work, reply })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.progress().missing == 0
    }

    pub(crate) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Gives up on all parts.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.progress().fail(failure);
    }

    fn deadline(&self) -> Instant {
        self.progress().since + self.timeout
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part, which is in a batch from now on; none if the work is abandoned.
    pub(crate) fn start(&self, part: usize, now: Instant) -> Option<TextPart> {
        let mut progress = self.progress();
        let text = progress.parts.get(part).cloned()?;
        progress.started.get_or_insert(now);
        progress.waiting -= 1;
        if progress.waiting == 0 {
            progress.places = None;
        }
        Some(text)
    }

    pub(crate) fn finish(&self, part: usize, output: PartOutput) {
        let mut progress = self.progress();
        match &mut progress.tokens {
            Some(tokens) => tokens.remove(self.lengths.get(part).copied().unwrap_or(0)),
            None => progress.since = Instant::now(),
        }
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

    fn urgency(&self, now: Instant) -> Option<Instant> {
        let deadline = self.deadline();
        (now + self.timeout / 2 >= deadline).then_some(deadline)
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
    /// If a batch failed, or the time has passed.
    pub(crate) async fn outputs(mut self) -> Result<Outputs, Failure> {
        loop {
            let deadline = self.work.deadline();
            match tokio::time::timeout_at(deadline.into(), &mut self.reply).await {
                Ok(reply) => return reply.unwrap_or(Err(Failure::Closed)),
                // A part was tagged meanwhile.
                Err(_) if self.work.deadline() > deadline => {}
                Err(_) => {
                    let has_started = self.work.progress().started.is_some();
                    return Err(Failure::Late { limit: self.work.timeout, has_started });
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.work.abandoned.store(true, Ordering::Relaxed);
        let mut progress = self.work.progress();
        progress.parts.clear();
        progress.places = None;
        progress.tokens = None;
    }
}

impl Progress {
    fn complete(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        self.places = None;
        self.tokens = None;
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
        self.tokens = None;
        if let Some(reply) = self.reply.take() {
            drop(reply.send(Err(failure.clone())));
        }
    }
}
