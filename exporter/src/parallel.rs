//! Work on all cores.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `work` with each of `items`, on all cores. Each core makes one `state` for all of its items. Returns when all items
/// are done.
pub(crate) fn on_all_cores<T: Send, S>(
    items: impl Iterator<Item = T> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) {
    // With few items, starting threads would take more time than they save.
    const FEW: usize = 4;
    let many = items.size_hint().0 >= FEW;
    let items = Mutex::new(items);
    let run = || {
        let mut state = state();
        let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(item) = next() {
            work(&mut state, item);
        }
    };
    let others = match many {
        true => thread::available_parallelism().map_or(0, |cores| cores.get() - 1),
        false => 0,
    };
    thread::scope(|scope| {
        (0..others).for_each(|_| drop(scope.spawn(run)));
        run();
    });
}
