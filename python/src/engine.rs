//! An open tagger.

use std::path::PathBuf;
use std::sync::Arc;

use hyperloader_runtime::{BackendKind, SentenceError, Tagged, Tagger};
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::open::{File, Opened, open};
use crate::options::Options;
use crate::tagging::{Answer, Work};
use crate::{errors, forks, results};

/// Batches for each of several workers in a slice. A worker whose batches are done early waits for the end of the slice.
const SHARED_BATCHES: usize = 4;

/// An open tagger. Threads may share it; a process that is forked may not use it.
#[pyclass(frozen, module = "hyperloader._hyperloader")]
pub(crate) struct Engine {
    /// Absent only while it is dropped.
    tagger: Option<Arc<Tagger>>,
    /// Why it runs otherwise than by default.
    notice: Option<String>,
    /// Most sentences that are tagged after an interruption.
    slice: usize,
    /// The process that opened it.
    process: u32,
}

/// Sentences that were read from Python: those that can be tagged, or why not.
type Read<T> = Vec<Result<T, String>>;

#[pymethods]
impl Engine {
    /// Opens the file at `path`. `library` is that of the package `onnxruntime`, for want of one that is named.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: Options, library: Option<PathBuf>) -> PyResult<Self> {
        let task = options.task.clone();
        let options = options.tagger()?;
        if options.backend.kind != BackendKind::Tract {
            forks::loaded();
        }
        let opened = py.detach(|| open(File { path: &path, task: task.as_deref() }, &options, library));
        let Opened { tagger, notice } = opened.map_err(|error| errors::of_open(&error))?;
        let batches = if options.workers > 1 { SHARED_BATCHES } else { 1 };
        let slice = options.batch_size.saturating_mul(options.workers).saturating_mul(batches);
        Ok(Self { tagger: Some(Arc::new(tagger)), notice, slice, process: std::process::id() })
    }

    /// Name, version and device of the backend, and what differs from what was asked for.
    fn backend(&self) -> PyResult<(String, &'static str, Vec<String>)> {
        let backend = self.tagger()?.backend();
        let kind = if backend.kind() == BackendKind::Tract { "tract" } else { "ort" };
        let notices = self.notice.iter().cloned().chain(backend.notices());
        let notices = notices.map(|notice| errors::in_python(&notice)).collect();
        Ok((backend.description(), kind, notices))
    }

    /// The task, its labels, and the most tokens of a source.
    fn metadata(&self) -> PyResult<(String, Vec<String>, usize)> {
        let metadata = self.tagger()?.metadata();
        Ok((metadata.task.clone(), metadata.labels.clone(), metadata.max_source_len))
    }

    /// The score that a guarantee asks for.
    fn threshold(&self) -> PyResult<Option<f64>> {
        Ok(self.tagger()?.threshold().map(|threshold| threshold.score))
    }

    /// The number of sentences that are best tagged together.
    fn window(&self) -> PyResult<usize> {
        Ok(self.tagger()?.window())
    }

    /// The cost of tagging so far. It waits for the sentences that are being tagged.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tagger = self.tagger()?;
        let statistics = py.detach(|| tagger.statistics());
        let dict = PyDict::new(py);
        dict.set_item("sentences", statistics.sentences)?;
        dict.set_item("parts", statistics.parts)?;
        dict.set_item("passes", statistics.passes)?;
        dict.set_item("ids", statistics.ids)?;
        dict.set_item("mistakes", statistics.mistakes)?;
        dict.set_item("fallbacks", statistics.fallbacks)?;
        Ok(dict)
    }

    /// A tuple (see `results`) for each text, or the reason why it cannot be tagged. In messages, the first has the index `first`.
    fn tag<'py>(&self, texts: &Bound<'py, PyList>, first: usize) -> PyResult<Bound<'py, PyList>> {
        let read = (first..).zip(texts.iter()).map(|(at, text)| string(&text, || format!("texts[{at}]")));
        let read = read.collect::<PyResult<Read<String>>>()?;
        self.run(texts.py(), read, String::clone, |sentences| Work {
            sentences,
            slice: self.slice,
            length: String::len,
            tag: Tagger::tag,
        })
    }

    /// The same for sentences that are lists or tuples of words.
    fn tag_words<'py>(&self, sentences: &Bound<'py, PyList>, first: usize) -> PyResult<Bound<'py, PyList>> {
        let read = (first..).zip(sentences.iter()).map(|(at, sentence)| words(&sentence, at));
        let read = read.collect::<PyResult<Read<Vec<String>>>>()?;
        self.run(
            sentences.py(),
            read,
            |words| words.join(" "),
            |sentences| Work {
                sentences,
                slice: self.slice,
                length: |words| words.iter().map(String::len).sum(),
                tag: Tagger::tag_words,
            },
        )
    }
}

impl Engine {
    fn tagger(&self) -> PyResult<&Arc<Tagger>> {
        let own = self.tagger.as_ref().filter(|_| self.process == std::process::id());
        own.ok_or_else(errors::of_other_process)
    }

    /// Tags the sentences that could be read.
    fn run<'py, T: Send + 'static>(
        &self,
        py: Python<'py>,
        read: Read<T>,
        text: fn(&T) -> String,
        work: impl FnOnce(Vec<T>) -> Work<T>,
    ) -> PyResult<Bound<'py, PyList>> {
        let tagger = self.tagger()?;
        let (mut faults, mut sentences) = (Vec::with_capacity(read.len()), Vec::new());
        for sentence in read {
            faults.push(sentence.map(|sentence| sentences.push(sentence)).err());
        }
        let mut answers = work(sentences).run(py, tagger)?.into_iter();
        let list = PyList::empty(py);
        for fault in faults {
            let answer = if fault.is_none() { answers.next() } else { None };
            list.append(match answer {
                Some((sentence, answer)) => item(py, answer, || text(&sentence))?,
                None => reason(py, &fault.unwrap_or_else(|| "it was not tagged".to_owned())),
            })?;
        }
        Ok(list)
    }
}

impl Drop for Engine {
    /// In a forked process, the threads of the sessions are missing: waiting for their end would not end.
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.tagger.take());
        }
    }
}

/// A text without words has no spans, which is no error.
fn item<'py>(py: Python<'py>, answer: Answer, text: impl Fn() -> String) -> PyResult<Bound<'py, PyAny>> {
    match answer {
        Ok(tagged) => Ok(results::sentence(py, &tagged)?.into_any()),
        Err(SentenceError::NoWord) => Ok(results::sentence(py, &Tagged::without_words(text()))?.into_any()),
        Err(error) => Ok(reason(py, &errors::of_sentence(&error))),
    }
}

/// Why a sentence cannot be tagged; `tagger.py` makes an exception of it.
fn reason<'py>(py: Python<'py>, message: &str) -> Bound<'py, PyAny> {
    PyString::new(py, message).into_any()
}

/// A string, or why it is not text: Python's strings may hold lone surrogates.
fn string(item: &Bound<'_, PyAny>, name: impl Fn() -> String) -> PyResult<Result<String, String>> {
    let Ok(text) = item.cast::<PyString>() else {
        let found = item.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{} is {found}, expected str", name())));
    };
    match text.to_str() {
        Ok(text) => Ok(Ok(text.to_owned())),
        Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(item.py()) => {
            let at: usize = error.value(item.py()).getattr("start")?.extract()?;
            Ok(Err(format!("character {at} is a lone surrogate, which is not text")))
        }
        Err(error) => Err(error),
    }
}

fn words(sentence: &Bound<'_, PyAny>, at: usize) -> PyResult<Result<Vec<String>, String>> {
    let is_sequence = sentence.is_instance_of::<PyList>() || sentence.is_instance_of::<PyTuple>();
    if !is_sequence {
        let found = sentence.get_type().name()?;
        return Err(PyTypeError::new_err(format!("sentences[{at}] is {found}, expected a list of str")));
    }
    let items = sentence.try_iter()?.enumerate();
    let read = items.map(|(word, item)| string(&item?, || format!("sentences[{at}][{word}]")));
    let read = read.collect::<PyResult<Vec<_>>>()?.into_iter().enumerate();
    Ok(read.map(|(word, text)| text.map_err(|fault| format!("word {}: {fault}", word + 1))).collect())
}
