//! Panics of other people's code become errors and print nothing.
//!
//! Parsers and runtimes index and unwrap on data that they do not expect. The first call installs a panic hook that is silent
//! while such code works on the panicking thread, and otherwise does what the hook before it does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread;

/// Prefix of the names of threads that such code starts. Their panics print nothing.
pub const SILENT_THREADS: &str = "hl-silent";

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or the message of its panic on one line.
///
/// # Errors
/// If `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !is_at_work() {
                before(panic);
            }
        }));
    });
    let outer = AT_WORK.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    AT_WORK.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

fn is_at_work() -> bool {
    AT_WORK.get() || thread::current().name().is_some_and(|name| name.starts_with(SILENT_THREADS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_message_of_one_line_and_results_pass() {
        let reason = caught(|| assert_eq!(1, 2, "index {}\n  out of bounds", 3)).unwrap_err();
        assert!(reason.ends_with("index 3 out of bounds left: 1 right: 2"), "{reason}");
        assert_eq!(caught(|| 5), Ok(5));
        let inner = caught(|| caught(|| panic!("inner")).is_err() && is_at_work());
        assert_eq!((inner, is_at_work()), (Ok(true), false));
    }
}
