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

/// Batches of a slice for each worker, if there are several: a worker without a further batch waits for the end of the slice.
const SHARED_BATCHES: usize = 4;

/// An open tagger. Threads may share it; a process that is forked from the one that opened it may not use it.
#[pyclass(frozen, module = "hyperloader._hyperloader")]
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    tagger: Option<Arc<Tagger>>,
    /// Why it runs with another library, or in another backend, than by default; `None` if it does not.
    notice: Option<String>,
    /// Sentences that are tagged before the thread looks whether it was interrupted.
    slice: usize,
    /// The id of the process that opened it.
    process: u32,
}

/// Sentences that were read from Python; in place of one that cannot be tagged, the reason.
type Read<T> = Vec<Result<T, String>>;

#[pymethods]
impl Engine {
    /// Opens the file at `path`. `library` is ONNX Runtime's library in the Python package `onnxruntime`, if it is installed; a
    /// library that the user names, or that is loaded already, is used instead.
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

    /// The backend: its name, version and device for people; `ort` or `tract`; and what differs from what was asked for.
    fn backend(&self) -> PyResult<(String, &'static str, Vec<String>)> {
        let backend = self.tagger()?.backend();
        let kind = if backend.kind() == BackendKind::Tract { "tract" } else { "ort" };
        let notices = self.notice.iter().cloned().chain(backend.notices());
        let notices = notices.map(|notice| errors::in_python(&notice)).collect();
        Ok((backend.description(), kind, notices))
    }

    /// The name of the task, its labels, and the most tokens of a source.
    fn metadata(&self) -> PyResult<(String, Vec<String>, usize)> {
        let metadata = self.tagger()?.metadata();
        Ok((metadata.task.clone(), metadata.labels.clone(), metadata.max_source_len))
    }

    /// The score below which `max_error` or `max_span_error` withholds tags; `None` without them.
    fn threshold(&self) -> PyResult<Option<f64>> {
        Ok(self.tagger()?.threshold().map(|threshold| threshold.score))
    }

    /// The number of sentences that are best given to `tag` or `tag_words` at once.
    fn window(&self) -> PyResult<usize> {
        Ok(self.tagger()?.window())
    }

    /// The cost of tagging since the file was opened. Waits for the slices that are being tagged.
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

    /// A tuple (see `results`) for each text, or a string: the reason why it cannot be tagged. `first` is the index of the first
    /// text in the message of an exception.
    ///
    /// # Errors
    /// `TypeError` if a text is no `str`, `BackendError` if the backend fails, and what a signal handler raises.
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

    /// As `tag`, for sentences that are lists or tuples of words.
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
    /// The tagger, if this process opened it.
    fn tagger(&self) -> PyResult<&Arc<Tagger>> {
        let own = self.tagger.as_ref().filter(|_| self.process == std::process::id());
        own.ok_or_else(errors::of_other_process)
    }

    /// Tags the sentences that could be read. The list has a result for each sentence of `read`, in order; `text` makes the text
    /// of a sentence without words.
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
    /// Does not free the tagger in a forked process: its threads are missing there, and freeing it would wait for them for ever.
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.tagger.take());
        }
    }
}

/// The result of a sentence, whose text is `text`. A text without words has no spans, which is no error.
fn item<'py>(py: Python<'py>, answer: Answer, text: impl Fn() -> String) -> PyResult<Bound<'py, PyAny>> {
    match answer {
        Ok(tagged) => Ok(results::sentence(py, &tagged)?.into_any()),
        Err(SentenceError::NoWord) => Ok(results::sentence(py, &Tagged::without_words(text()))?.into_any()),
        Err(error) => Ok(reason(py, &errors::of_sentence(&error))),
    }
}

/// The reason why a sentence cannot be tagged, of which `tagger.py` makes a `SentenceError`.
fn reason<'py>(py: Python<'py>, message: &str) -> Bound<'py, PyAny> {
    PyString::new(py, message).into_any()
}

/// A string, or why it is not text: Python's strings may have lone surrogates. `name` names it in errors.
///
/// # Errors
/// `TypeError` if `item` is no `str`.
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

/// The words of a sentence, or why one of them is not text. `at` is the index of the sentence in errors.
///
/// # Errors
/// `TypeError` if `sentence` is no list or tuple, or a word is no `str`.
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
