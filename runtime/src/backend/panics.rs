//! Panics of a runtime become errors and print nothing.

use hyperloader_core::panics;
/// The names of a runtime's own threads begin so.
pub(super) use hyperloader_core::panics::SILENT_THREADS as THREADS;

use super::error::Cause;

/// The result of `work`; a panic is an error of one line.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    panics::caught(work).unwrap_or_else(|panic| Err(format!("it panicked: {panic}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one_line() {
        let error = caught::<()>(|| panic!("index {}\n  out of bounds", 3)).unwrap_err().to_string();
        assert_eq!(error, "it panicked: index 3 out of bounds");
        assert_eq!(caught(|| Ok(5)).unwrap(), 5);
    }
}
