//! Work on all cores.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

/// A result that a thread computes.
#[derive(Default)]
pub(crate) enum Later<'scope, T> {
    /// There is none, or it was taken.
    #[default]
    Nothing,
    /// The thread that computes it.
    Running(ScopedJoinHandle<'scope, T>),
    /// It is there.
    Done(T),
}

impl<'scope, T: Send + 'scope> Later<'scope, T> {
    /// The result of `work`, which begins now.
    pub(crate) fn start(scope: &'scope Scope<'scope, '_>, work: impl FnOnce() -> T + Send + 'scope) -> Self {
        Self::Running(scope.spawn(work))
    }

    /// Waits until the result is there.
    pub(crate) fn wait(&mut self) {
        if let Some(result) = self.take() {
            *self = Self::Done(result);
        }
    }

    /// Waits for the result and takes it; `None` if there is none.
    pub(crate) fn take(&mut self) -> Option<T> {
        match std::mem::take(self) {
            Self::Nothing => None,
            Self::Running(thread) => Some(thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
            Self::Done(result) => Some(result),
        }
    }
}

/// Calls `work` with each of `items`, on all cores. Each thread makes one `state` for all of its items. Returns when all items
/// are done.
pub(crate) fn on_all_cores<T: Send, S>(
    items: impl Iterator<Item = T> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads(cores, items.size_hint().0);
    let items = Mutex::new(items);
    let run = || {
        let mut state = state();
        let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(item) = next() {
            work(&mut state, item);
        }
    };
    thread::scope(|scope| {
        // The calling thread is one of them.
        (1..threads).for_each(|_| drop(scope.spawn(run)));
        run();
    });
}

/// Number of threads that work on this number of items.
fn threads(cores: usize, items: usize) -> usize {
    // With few items, starting threads would take more time than they save.
    const FEW: usize = 4;
    if items < FEW { 1 } else { cores.min(items) }
}

#[cfg(test)]
mod tests {
    use super::threads;

    #[test]
    fn there_are_no_more_threads_than_cores_or_items_and_one_for_few_items() {
        assert_eq!([threads(4, 100), threads(64, 10), threads(1, 10)], [4, 10, 1]);
        assert_eq!([threads(64, 3), threads(64, 0)], [1, 1]);
    }
}
