//! Tagged sentences as tuples, which `tagged.py` makes objects of.

use hyperloader_core::text::scores::rounded;
use hyperloader_runtime::{TagScore, Tagged, TaggedSpan};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// `(text, tokens, offsets, tags, spans, score, tag_scores, complete, unread, abstained, withheld)`.
///
/// # Errors
/// If Python has no memory left.
pub(crate) fn sentence<'py>(py: Python<'py>, tagged: &Tagged) -> PyResult<Bound<'py, PyTuple>> {
    let tokens = PyTuple::new(py, tagged.surfaces())?;
    let offsets = PyTuple::new(py, tagged.words.iter().map(|word| (word.start, word.end)))?;
    let tags = PyTuple::new(py, tagged.tags.iter().map(|tag| PyString::intern(py, tag)))?;
    let spans = tagged.spans.iter().map(|found| span(py, found)).collect::<PyResult<Vec<_>>>()?;
    let score = tagged.scores.as_ref().map(|scores| rounded(scores.score));
    // Scores of tags that are withheld are not those of `O`.
    let is_whole = !tagged.abstained && tagged.withheld == 0;
    let of_tags = tagged.scores.as_ref().filter(|_| is_whole);
    let of_tags = of_tags.map(|scores| PyTuple::new(py, scores.tags.iter().map(pair))).transpose()?;
    let unread = PyTuple::new(py, &tagged.unread)?;
    let Tagged { text, complete, abstained, withheld, .. } = tagged;
    let spans = PyTuple::new(py, spans)?;
    (text, tokens, offsets, tags, spans, score, of_tags, complete, unread, abstained, withheld)
        .into_pyobject(py)
}

/// `(start, end, label, text, score, margin, unknown)`.
fn span<'py>(py: Python<'py>, span: &TaggedSpan) -> PyResult<Bound<'py, PyTuple>> {
    let TaggedSpan { start, end, label, text, score, unknown } = span;
    let (score, margin) = score.as_ref().map(pair).unzip();
    (start, end, PyString::intern(py, label), text, score, margin, unknown).into_pyobject(py)
}

fn pair(score: &TagScore) -> (f64, f64) {
    (rounded(score.score), rounded(score.margin))
}
