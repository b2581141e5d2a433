//! Panics of a runtime become errors and print nothing.
//!
//! A runtime indexes and unwraps on graphs that it does not expect. The first call installs a panic hook that is silent
//! while a runtime works on the panicking thread, and otherwise does what the hook before it does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread;

use super::error::Cause;

/// The names of a runtime's own threads begin so.
pub(super) const THREADS: &str = "hl-backend";

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`; a panic is an error of one line.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
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
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        let line: Vec<&str> = text.split_whitespace().collect();
        Err(format!("it panicked: {}", line.join(" ")).into())
    })
}

fn is_at_work() -> bool {
    AT_WORK.get() || thread::current().name().is_some_and(|name| name.starts_with(THREADS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one_line_and_others_stay_panics() {
        let error = caught::<()>(|| panic!("index {}\n  out of bounds", 3)).unwrap_err().to_string();
        assert_eq!(error, "it panicked: index 3 out of bounds");
        assert_eq!(caught(|| Ok(5)).unwrap(), 5);
        let inner = caught(|| Ok(caught::<()>(|| panic!("inner")).is_err() && is_at_work())).unwrap();
        assert!(inner && !is_at_work());
    }
}
