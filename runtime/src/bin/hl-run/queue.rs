//! A queue between the thread that reads and the one that tags, bounded by the size of what is in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a reader of an empty queue looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A bounded queue that tells waiting for input from reading it.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Weight of the items at which the writer waits.
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    /// Each with its weight.
    items: VecDeque<(usize, T)>,
    weight: usize,
    /// The writer waits for input that may take long to come.
    starving: bool,
    /// The writer has an item and waits for room: a batch that waits for more would wait forever.
    blocked: bool,
    /// No more items will come.
    ended: bool,
    /// No more items are needed.
    closed: bool,
    /// The number of items that the reader waits for.
    wanted: usize,
}

impl<T> Queue<T> {
    /// An empty queue whose items weigh `limit` at most, or that holds a single item.
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            weight: 0,
            starving: false,
            blocked: false,
            ended: false,
            closed: false,
            wanted: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item as soon as there is room; false if no more are needed.
    pub(crate) fn push(&self, weight: usize, item: T) -> bool {
        let mut state = self.lock();
        while !state.closed && state.weight > 0 && state.weight.saturating_add(weight) > self.limit {
            state.blocked = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.blocked = false;
        if state.closed {
            return false;
        }
        state.weight = state.weight.saturating_add(weight.max(1));
        state.items.push_back((weight.max(1), item));
        if state.items.len() >= state.wanted {
            self.changed.notify_all();
        }
        true
    }

    /// Says whether the writer waits for input: then a batch does not wait for further items.
    pub(crate) fn set_starving(&self, starving: bool) {
        self.lock().starving = starving;
        if starving {
            self.changed.notify_all();
        }
    }

    /// Says that no more items will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Says that no more items are needed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next items, at most `size`: waits for the first, and for others only while the writer has input. No item at the end,
    /// and if `stop` became true.
    pub(crate) fn batch(&self, size: usize, stop: &AtomicBool) -> Vec<T> {
        let mut state = self.lock();
        loop {
            let full = state.items.len() >= size || state.weight.saturating_mul(2) >= self.limit;
            let stopped = stop.load(Ordering::Relaxed);
            let ready = full || state.starving || state.blocked;
            if stopped || state.ended || (!state.items.is_empty() && ready) {
                break;
            }
            state.wanted = if state.starving { 1 } else { size };
            let waited = self.changed.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if stop.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let count = state.items.len().min(size);
        let batch: Vec<(usize, T)> = state.items.drain(..count).collect();
        state.weight = state.weight.saturating_sub(batch.iter().map(|(weight, _)| weight).sum());
        self.changed.notify_all();
        batch.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    fn writer(queue: &Arc<Queue<usize>>, work: impl FnOnce(&Queue<usize>) + Send + 'static) {
        let queue = Arc::clone(queue);
        std::thread::spawn(move || work(&queue));
    }

    #[test]
    fn a_batch_is_filled_while_there_is_input() {
        let queue = Arc::new(Queue::new(1000));
        writer(&queue, |queue| {
            assert!((0..10).all(|item| queue.push(1, item)));
            queue.end();
        });
        assert_eq!(queue.batch(4, &GO), [0, 1, 2, 3]);
        assert_eq!(queue.batch(4, &GO), [4, 5, 6, 7]);
        assert_eq!(queue.batch(4, &GO), [8, 9]);
        assert!(queue.batch(4, &GO).is_empty());
    }

    #[test]
    fn a_batch_does_not_wait_for_input() {
        let queue = Arc::new(Queue::new(1000));
        let (answer, answered) = std::sync::mpsc::channel();
        writer(&queue, move |queue| {
            for item in 0..3 {
                queue.push(1, item);
                queue.set_starving(true);
                // Goes on only when the item has arrived.
                answered.recv().unwrap();
                queue.set_starving(false);
            }
            queue.end();
        });
        for item in 0..3 {
            assert_eq!(queue.batch(usize::MAX, &GO), [item]);
            answer.send(()).unwrap();
        }
        assert!(queue.batch(4, &GO).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_a_heavy_item_passes_alone() {
        let queue = Arc::new(Queue::new(10));
        writer(&queue, |queue| {
            for item in 0..100 {
                queue.push(if item == 50 { 1000 } else { 3 }, item);
            }
            queue.end();
        });
        let mut all = vec![];
        loop {
            let batch = queue.batch(usize::MAX, &GO);
            assert!(batch.len() <= 3, "{batch:?}");
            match batch.is_empty() {
                true => break,
                false => all.extend(batch),
            }
        }
        assert!(all.into_iter().eq(0..100));
    }

    #[test]
    fn an_item_that_does_not_fit_after_a_light_one_does_not_stop_both_threads() {
        let queue = Arc::new(Queue::new(100));
        writer(&queue, |queue| {
            assert!(queue.push(10, 0) && queue.push(95, 1) && queue.push(10, 2));
            queue.end();
        });
        let (send, batches) = std::sync::mpsc::channel();
        writer(&Arc::clone(&queue), move |queue| {
            while let batch @ [_, ..] = &queue.batch(usize::MAX, &GO)[..] {
                send.send(batch.to_vec()).unwrap();
            }
        });
        let patience = Duration::from_secs(20);
        let next = || batches.recv_timeout(patience).expect("both threads wait");
        assert_eq!([next(), next(), next()], [[0], [1], [2]]);
        assert!(batches.recv_timeout(patience).is_err());
    }

    #[test]
    fn a_closed_queue_stops_its_writer_and_a_signal_its_reader() {
        let queue = Arc::new(Queue::new(10));
        let (sender, receiver) = std::sync::mpsc::channel();
        writer(&queue, move |queue| {
            sender.send((0..).take_while(|item| queue.push(1, *item)).count()).unwrap()
        });
        assert!(!queue.batch(2, &GO).is_empty());
        queue.close();
        assert!(receiver.recv().unwrap() >= 2);
        assert!(Queue::<usize>::new(10).batch(2, &AtomicBool::new(true)).is_empty());
    }
}
