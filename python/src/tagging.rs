//! Tagging without the interpreter's lock, which Ctrl-C ends.

use std::cmp::Reverse;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use hyperloader_runtime::{BackendError, SentenceError, Tagged, Tagger};
use pyo3::prelude::*;

use crate::errors;

/// Time between two looks at Python's signals.
const INTERVAL: Duration = Duration::from_millis(100);
/// The stack of the main thread on Linux.
const STACK_BYTES: usize = 8 << 20;

pub(crate) type Answer = Result<Tagged, SentenceError>;

/// Sentences of type `T`, and how they are tagged.
pub(crate) struct Work<T> {
    pub(crate) sentences: Vec<T>,
    /// Most sentences that are tagged after an interruption.
    pub(crate) slice: usize,
    /// Sentences of similar lengths share batches.
    pub(crate) length: fn(&T) -> usize,
    pub(crate) tag: fn(&Tagger, &[T]) -> Result<Vec<Answer>, BackendError>,
}

impl<T: Send + 'static> Work<T> {
    /// Each sentence with its answer, in order.
    ///
    /// # Errors
    /// If the backend fails, or a handler of signals raises an exception (`KeyboardInterrupt`). The sentences that are being
    /// tagged then are finished by the thread.
    pub(crate) fn run(self, py: Python<'_>, tagger: &Arc<Tagger>) -> PyResult<Vec<(T, Answer)>> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (sender, mut receiver) = channel();
        let (tagger, stopped) = (Arc::clone(tagger), Arc::clone(&is_stopped));
        let thread = thread::Builder::new().name("hyperloader".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || {
            let answers = self.answers(&tagger, &stopped);
            // Nobody waits for it after an interruption.
            let _ = sender.send(answers);
        })?;
        loop {
            let receiver = &mut receiver;
            match py.detach(move || receiver.recv_timeout(INTERVAL)) {
                Ok(answers) => return answers.map_err(|error| errors::of_backend(&error)),
                Err(RecvTimeoutError::Timeout) => {
                    py.check_signals().inspect_err(|_| is_stopped.store(true, Ordering::Relaxed))?;
                }
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => return Err(errors::of_backend(&BackendError::WorkerDied)),
                },
            }
        }
    }

    fn answers(self, tagger: &Tagger, is_stopped: &AtomicBool) -> Result<Vec<(T, Answer)>, BackendError> {
        let mut sentences: Vec<(usize, T)> = self.sentences.into_iter().enumerate().collect();
        sentences.sort_by_key(|(_, sentence)| Reverse((self.length)(sentence)));
        let (order, sentences): (Vec<usize>, Vec<T>) = sentences.into_iter().unzip();
        let mut answers = Vec::with_capacity(order.len());
        for slice in sentences.chunks(self.slice.max(1)) {
            if is_stopped.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            answers.extend((self.tag)(tagger, slice)?);
        }
        let mut found: Vec<_> = order.into_iter().zip(sentences.into_iter().zip(answers)).collect();
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }
}
