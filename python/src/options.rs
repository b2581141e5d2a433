//! Options of a tagger, from the dictionary that the Python package has checked.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use hyperloader_runtime::{Alignment, BackendKind, BackendOptions, Guarantee, TaggerOptions, Unit};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The options by the names of `hl-run`; ranges of numbers are checked in `options.py`.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    /// The task of a file that has several.
    pub(crate) task: Option<String>,
    backend: String,
    device: String,
    threads: Option<usize>,
    batch_size: usize,
    workers: usize,
    words: String,
    split: String,
    decode: String,
    draft_from: String,
    align: String,
    scores: bool,
    max_error: Option<f64>,
    max_span_error: Option<f64>,
    confidence: f64,
    ort_lib: Option<PathBuf>,
    cache: Option<PathBuf>,
}

impl Options {
    /// The options as the runtime takes them.
    ///
    /// # Errors
    /// `ValueError` if a name is unknown; it lists those that are known.
    pub(crate) fn tagger(&self) -> PyResult<TaggerOptions> {
        let limits = [(Unit::Sentences, self.max_error), (Unit::Spans, self.max_span_error)];
        let confidence = self.confidence;
        let guarantee =
            limits.into_iter().find_map(|(of, limit)| Some(Guarantee { of, max_error: limit?, confidence }));
        Ok(TaggerOptions {
            backend: BackendOptions {
                kind: parsed::<BackendKind>(&self.backend)?,
                device: parsed(&self.device)?,
                threads: self.threads.or_else(|| self.share()),
                ort_lib: self.ort_lib.clone(),
                cache: self.cache.clone(),
            },
            batch_size: self.batch_size,
            workers: self.workers,
            words: parsed(&self.words)?,
            split: parsed(&self.split)?,
            align: alignment(&self.align)?,
            mode: parsed(&self.decode)?,
            draft_from: parsed(&self.draft_from)?,
            scores: self.scores,
            guarantee,
        })
    }

    /// Threads of one of several workers: all cores, divided among them.
    fn share(&self) -> Option<usize> {
        let cores = std::thread::available_parallelism().ok().filter(|_| self.workers > 1)?;
        Some((cores.get() / self.workers).max(1))
    }
}

fn parsed<T: FromStr<Err: Display>>(name: &str) -> PyResult<T> {
    name.parse().map_err(|error: T::Err| PyValueError::new_err(error.to_string()))
}

fn alignment(name: &str) -> PyResult<Alignment> {
    match name {
        "order" => Ok(Alignment::Order),
        "sentinel" => Ok(Alignment::Sentinel),
        _ => Err(PyValueError::new_err(format!(
            "unknown alignment `{name}`, expected one of: order, sentinel"
        ))),
    }
}
