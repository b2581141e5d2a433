//! The extension module `hyperloader._hyperloader`: what the Python package needs of the runtime. It is private; the package's
//! interface, with its checks of arguments, is in `hyperloader/`.
//!
//! - `engine`: an open tagger
//! - `open`: how it is opened, and the library of ONNX Runtime
//! - `tagging`: tagging in a thread, which Ctrl-C ends
//! - `options`: how it runs, from a dictionary
//! - `results`: tagged sentences as tuples
//! - `errors`: exceptions, with hints in terms of the package
//! - `forks`: the end of forked processes

mod engine;
mod errors;
mod forks;
mod open;
mod options;
mod results;
mod tagging;

/// The runtime of HyperLoader taggers.
#[pyo3::pymodule]
mod _hyperloader {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::errors::in_python;
    #[pymodule_export]
    use super::forks::after_fork;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
