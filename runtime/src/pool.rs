//! Workers that run the batches of many sentences, and which sentences share a batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::backend::BackendError;
use crate::model::{Output, Source, Worker};
use crate::statistics::Statistics;

/// Most source tokens of a batch, padding included. It bounds the memory of the encoder's outputs.
const BATCH_TOKENS: usize = 2048;
/// Batches per worker in a window: more sentences give batches of more similar lengths.
const LOOKAHEAD: usize = 8;

/// Workers; threads can share them.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Vec<Mutex<Box<dyn Worker>>>,
    /// Most sentences in a batch.
    batch_size: usize,
}

impl Pool {
    pub(crate) fn new(workers: Vec<Box<dyn Worker>>, batch_size: usize) -> Self {
        Self { workers: workers.into_iter().map(Mutex::new).collect(), batch_size: batch_size.max(1) }
    }

    /// The number of sentences that are best tagged together.
    pub(crate) fn window(&self) -> usize {
        LOOKAHEAD.saturating_mul(self.batch_size).saturating_mul(self.workers.len())
    }

    /// The cost of all workers.
    pub(crate) fn statistics(&self) -> Statistics {
        let of = |worker: &Mutex<Box<dyn Worker>>| {
            worker.lock().unwrap_or_else(PoisonError::into_inner).statistics()
        };
        self.workers.iter().map(of).sum()
    }

    /// The output of each source, run as one batch by a worker that is free, and the cost.
    ///
    /// # Errors
    /// If the backend fails.
    pub(crate) fn run_batch(&self, sources: &[&Source]) -> Result<(Vec<Output>, Statistics), BackendError> {
        let free = self.workers.iter().find_map(|worker| match worker.try_lock() {
            Ok(worker) => Some(worker),
            // A batch that panicked left nothing that the next one uses.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let first =
            || self.workers.first().map(|worker| worker.lock().unwrap_or_else(PoisonError::into_inner));
        let mut worker = free.or_else(first).ok_or(BackendError::WorkerDied)?;
        let before = worker.statistics();
        let outputs = worker.run(sources)?;
        Ok((outputs, worker.statistics().since(before)))
    }

    /// The output of each source, in order (see [`Worker::run`]).
    ///
    /// # Errors
    /// If the backend fails.
    pub(crate) fn run(&self, sources: &[&Source]) -> Result<Vec<Output>, BackendError> {
        let lengths: Vec<usize> = sources.iter().map(|source| source.ids.len()).collect();
        let batches = batches(&lengths, self.batch_size);
        let next = AtomicUsize::new(0);
        let work = |worker: &Mutex<Box<dyn Worker>>| {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            let mut done = Vec::new();
            while let Some(rows) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let batch: Vec<&Source> = rows.iter().map(|&row| sources[row]).collect();
                done.extend(rows.iter().copied().zip(worker.run(&batch)?));
            }
            Ok(done)
        };
        let done: Vec<Result<Vec<_>, BackendError>> = match &self.workers[..] {
            [worker] => vec![work(worker)],
            workers => std::thread::scope(|scope| {
                let threads: Vec<_> = workers.iter().map(|worker| scope.spawn(|| work(worker))).collect();
                let died = |_| Err(BackendError::WorkerDied);
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
            }),
        };
        let mut outputs = vec![Output::default(); sources.len()];
        for worker in done {
            for (row, output) in worker? {
                outputs[row] = output;
            }
        }
        Ok(outputs)
    }
}

/// Indices of sources of these lengths in batches of at most `size`. The sources of a batch have similar lengths; the longest
/// come first.
fn batches(lengths: &[usize], size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut batches = Vec::new();
    let mut rest = &order[..];
    while let Some(&first) = rest.first() {
        let rows = (BATCH_TOKENS / lengths[first].max(1)).clamp(1, size);
        let (batch, others) = rest.split_at(rows.min(rest.len()));
        batches.push(batch.to_vec());
        rest = others;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_sources_of_similar_length_and_no_more_tokens_than_allowed() {
        let lengths = [3, 900, 5, 4, 1000, 5000, 3];
        assert_eq!(batches(&lengths, 3), [vec![5], vec![4, 1], vec![2, 3, 0], vec![6]]);
        assert!(batches(&[], 3).is_empty());
    }
}
