//! Work on all cores.

use std::sync::{Mutex, PoisonError};
use std::thread;

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
