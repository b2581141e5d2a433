//! Errors of the runtime as Python's exceptions.

use std::error::Error;
use std::io;
use std::path::Path;

use hyperloader_core::causes::with_causes;
use hyperloader_runtime::{BackendError, ModelFileError, OpenError, ReadError};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Options that messages and hints name as those of the command line.
const OPTIONS: [&str; 13] = [
    "align",
    "backend",
    "batch-size",
    "cache",
    "confidence",
    "decode",
    "device",
    "draft-from",
    "max-error",
    "max-span-error",
    "split",
    "task",
    "words",
];

/// Parts of hints that name something else in Python.
const OTHERS: [(&str, &str); 4] = [
    ("leave out `--no-split`", "`split=\"long\"`"),
    ("`cargo xtask setup` fetches it", "`pip install onnxruntime` installs it"),
    ("`--ort-lib FILE`", "`ort_lib`"),
    ("`--ort-lib`", "`ort_lib`"),
];

/// A message with the options of the command line as arguments: `--device cpu` as `device="cpu"`.
#[pyfunction]
pub(crate) fn in_python(message: &str) -> String {
    let message = OTHERS.iter().fold(message.to_owned(), |text, (from, to)| text.replace(from, to));
    OPTIONS.iter().fold(message, |text, option| with_argument(&text, option))
}

/// `text` with the option of this name as an argument wherever it stands in a code span of its own.
fn with_argument(text: &str, option: &str) -> String {
    let name = option.replace('-', "_");
    let begin = format!("`--{option}");
    let mut parts = text.split(&begin);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('`') {
            Some(("", rest)) => out.push_str(&format!("`{name}`{rest}")),
            Some((value, rest)) if value.starts_with(' ') => {
                out.push_str(&format!("`{name}=\"{}\"`{rest}", &value[1..]));
            }
            // A longer name, of which this one is the beginning.
            _ => out.push_str(&format!("{begin}{part}")),
        }
    }
    out
}

fn message(error: &(dyn Error + 'static)) -> String {
    in_python(&with_causes(error))
}

/// The exception of a tagger that cannot be opened: `OSError` if the system says why, so that a missing file is a
/// `FileNotFoundError`.
pub(crate) fn of_open(error: &OpenError) -> PyErr {
    if let OpenError::File(ModelFileError::Read(fault))
    | OpenError::File(ModelFileError::NotAModel { source: fault, .. }) = error
        && let ReadError::Io { path, source } | ReadError::Data { path, source, .. } = fault
        && let Some(error) = of_system(path, source)
    {
        return error;
    }
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let mut causes = causes.filter_map(|cause| cause.downcast_ref::<BackendError>());
    let is_cache = causes.any(|cause| matches!(cause, BackendError::Cache { .. }));
    let is_backend = is_cache || matches!(error, OpenError::Backend(_)) || error.is_internal();
    let message = message(error);
    exception(if is_backend { "BackendError" } else { "ModelError" }, message)
}

/// `OSError(errno, strerror, filename)`, from which Python makes the fitting subclass.
fn of_system(path: &Path, error: &io::Error) -> Option<PyErr> {
    let number = error.raw_os_error()?;
    let reason = error.to_string();
    // Python adds the number itself.
    let reason = reason.split(" (os error").next().unwrap_or(&reason).to_owned();
    Some(PyOSError::new_err((number, reason, path.as_os_str().to_owned())))
}

/// The exception of a backend that failed while it tagged.
pub(crate) fn of_backend(error: &BackendError) -> PyErr {
    exception("BackendError", message(error))
}

/// The exception of a session that another process has opened.
pub(crate) fn of_other_process() -> PyErr {
    let message = "the tagger was opened by another process, which this one was forked from";
    exception("BackendError", message.to_owned())
}

/// The message of a sentence that cannot be tagged.
pub(crate) fn of_sentence(error: &(dyn Error + 'static)) -> String {
    message(error)
}

/// The exception of this name in `errors.py` of the interpreter that runs.
fn exception(name: &str, message: String) -> PyErr {
    let class = |py: Python<'_>| {
        let class = py.import("hyperloader.errors")?.getattr(name)?.cast_into::<PyType>()?;
        Ok(PyErr::from_type(class, (message,)))
    };
    Python::attach(class).unwrap_or_else(|error| error)
}
