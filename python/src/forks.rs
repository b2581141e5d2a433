//! The end of a process that was forked from one that had loaded ONNX Runtime.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// Whether ONNX Runtime may be loaded in this process, or was in one that it was forked from.
static IS_LOADED: AtomicBool = AtomicBool::new(false);

/// Says that a tagger loads ONNX Runtime.
pub(crate) fn loaded() {
    IS_LOADED.store(true, Ordering::Relaxed);
}

/// Is called in a new process after a fork. The library has a thread of its own, which is missing there, and waits for it when
/// the process ends: the process would not end. It ends before that then, after Python has finished.
#[pyfunction]
pub(crate) fn after_fork() {
    if IS_LOADED.load(Ordering::Relaxed) {
        exit::skip_destructors();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod exit {
    use std::ffi::{c_int, c_void};
    use std::ptr::null_mut;

    unsafe extern "C" {
        fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        fn fflush(stream: *mut c_void) -> c_int;
        fn _exit(status: c_int) -> !;
    }

    /// Handlers run in the reverse order of their registration: this one is before those of libraries that are loaded already.
    pub(super) fn skip_destructors() {
        // SAFETY: the signature is that of glibc; the function uses no argument.
        unsafe { on_exit(leave, null_mut()) };
    }

    extern "C" fn leave(status: c_int, _: *mut c_void) {
        // SAFETY: a null stream stands for all; `_exit` has no conditions.
        unsafe {
            fflush(null_mut());
            _exit(status)
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod exit {
    /// Only glibc passes the exit status on.
    pub(super) fn skip_destructors() {}
}
