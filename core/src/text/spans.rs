//! Tag sequences and the labelled spans that they stand for.
//!
//! A corpus holds BIO tags (IOB2: `B-x`, `I-x`, `O`), the model reads and writes sBIO tags (`x`, `I`, `O`; HyperLoader paper,
//! section 3.6), the metric and the user see spans.

use serde::{Deserialize, Serialize};

/// A labelled run of words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Index of the first word.
    pub start: usize,
    /// One past the index of the last word.
    pub end: usize,
    /// The label, without `B-` or `I-`.
    pub label: String,
}

/// How BIO tags that are not well formed are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanMode {
    /// As conlleval and seqeval's default: an `I-x` after `O`, at the start or after another label opens a span.
    #[default]
    Default,
    /// As seqeval's `mode="strict", scheme=IOB2`: only `B-x` opens a span.
    StrictIob2,
}

/// Spans that cannot be written as tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum SpanError {
    /// A span reaches past the last word, or has no word.
    #[error("span {}..{} (`{}`) does not fit a sentence of {words} words", span.start, span.end, span.label)]
    OutOfRange {
        span: Span,
        /// Number of words of the sentence.
        words: usize,
    },
    /// Two spans share a word.
    #[error("word {word} is in span `{label}` and in an earlier span")]
    Overlap {
        /// Index of the word.
        word: usize,
        /// Label of the later span.
        label: String,
    },
}

/// A BIO tag's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bio<'a> {
    /// Outside of all spans.
    Outside,
    /// First word of a span with this label.
    Begin(&'a str),
    /// Further word of a span with this label.
    Inside(&'a str),
}

impl<'a> Bio<'a> {
    /// Splits `B-x`, `I-x` or `O`; anything else, an empty label included, is `None`.
    pub fn parse(tag: &'a str) -> Option<Self> {
        match tag.split_at_checked(2) {
            Some(("B-", label)) if !label.is_empty() => Some(Self::Begin(label)),
            Some(("I-", label)) if !label.is_empty() => Some(Self::Inside(label)),
            _ => (tag == "O").then_some(Self::Outside),
        }
    }

    /// The label, if the word is in a span.
    pub fn label(self) -> Option<&'a str> {
        match self {
            Self::Outside => None,
            Self::Begin(label) | Self::Inside(label) => Some(label),
        }
    }
}

/// The spans of a BIO sequence, in order. Tags that are no BIO tags count as `O`.
pub fn bio_to_spans<T: AsRef<str>>(tags: &[T], mode: SpanMode) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open = false;
    for (word, tag) in tags.iter().enumerate() {
        let tag = Bio::parse(tag.as_ref()).unwrap_or(Bio::Outside);
        let Some(label) = tag.label().map(|label| comparable(label, mode)) else {
            open = false;
            continue;
        };
        match spans.last_mut() {
            Some(last) if open && last.label == label && matches!(tag, Bio::Inside(_)) => {
                last.end = word + 1;
            }
            _ => {
                open = mode == SpanMode::Default || matches!(tag, Bio::Begin(_));
                if open {
                    spans.push(Span { start: word, end: word + 1, label: label.to_owned() });
                }
            }
        }
    }
    spans
}

/// seqeval's strict mode strips hyphens off a label's ends before it compares, its default mode does not.
fn comparable(label: &str, mode: SpanMode) -> &str {
    match mode {
        SpanMode::Default => label,
        SpanMode::StrictIob2 => match label.trim_matches('-') {
            "" => "_",
            stripped => stripped,
        },
    }
}

/// The BIO tags `[words]` of `spans`.
///
/// # Errors
/// If a span is empty or leaves the sentence, or two spans share a word.
pub fn spans_to_bio(spans: &[Span], words: usize) -> Result<Vec<String>, SpanError> {
    let mut tags = vec!["O".to_owned(); words];
    for span in spans {
        let range = match tags.get_mut(span.start..span.end) {
            Some(range) if !range.is_empty() => range,
            _ => {
                return Err(SpanError::OutOfRange { span: span.clone(), words });
            }
        };
        for (offset, tag) in range.iter_mut().enumerate() {
            if tag != "O" {
                return Err(SpanError::Overlap { word: span.start + offset, label: span.label.clone() });
            }
            let prefix = if offset == 0 { 'B' } else { 'I' };
            *tag = format!("{prefix}-{}", span.label);
        }
    }
    Ok(tags)
}

/// sBIO of BIO: `B-x` is `x`, `I-x` is `I`, all else stays as it is.
pub fn bio_to_sbio<T: AsRef<str>>(tags: &[T]) -> Vec<String> {
    let simple = |tag: &str| match Bio::parse(tag) {
        Some(Bio::Begin(label)) => label.to_owned(),
        Some(Bio::Inside(_)) => "I".to_owned(),
        Some(Bio::Outside) | None => tag.to_owned(),
    };
    tags.iter().map(|tag| simple(tag.as_ref())).collect()
}

/// BIO of sBIO: a tag that is neither `O` nor `I` opens `B-tag`, the run of `I` right after it is `I-tag`, an `I` elsewhere is `O`
/// (reference implementation, `seq_f1.py`). The result is always well formed.
pub fn sbio_to_bio<T: AsRef<str>>(tags: &[T]) -> Vec<String> {
    let mut open: Option<&str> = None;
    tags.iter()
        .map(|tag| match (tag.as_ref(), open) {
            ("I", Some(label)) => format!("I-{label}"),
            ("I" | "O", _) => {
                open = None;
                "O".to_owned()
            }
            (label, _) => {
                open = Some(label);
                format!("B-{label}")
            }
        })
        .collect()
}

/// Cuts a predicted sequence to `words` tags or pads it with `O`, as the reference does before it scores.
pub fn fit_to_length(mut tags: Vec<String>, words: usize) -> Vec<String> {
    tags.resize(words, "O".to_owned());
    tags
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(start: usize, end: usize, label: &str) -> Span {
        Span { start, end, label: label.into() }
    }

    #[test]
    fn modes_differ_on_ill_formed_tags_only() {
        let tags = ["I-x", "I-x", "I-y", "O", "B-x", "I-y", "B-y"];
        assert_eq!(
            bio_to_spans(&tags, SpanMode::Default),
            [span(0, 2, "x"), span(2, 3, "y"), span(4, 5, "x"), span(5, 6, "y"), span(6, 7, "y")]
        );
        assert_eq!(bio_to_spans(&tags, SpanMode::StrictIob2), [span(4, 5, "x"), span(6, 7, "y")]);
    }

    #[test]
    fn strict_mode_strips_hyphens_and_the_default_does_not() {
        assert_eq!(bio_to_spans(&["B--x-", "I-x"], SpanMode::StrictIob2), [span(0, 2, "x")]);
        assert_eq!(bio_to_spans(&["B--x-", "I-x"], SpanMode::Default), [span(0, 1, "-x-"), span(1, 2, "x")]);
    }

    #[test]
    fn tags_without_a_label_or_prefix_are_none() {
        for tag in ["", "B", "B-", "I-", "o", "X-y", "\u{e9}-y", "O-"] {
            assert_eq!(Bio::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn spans_that_overlap_or_leave_the_sentence_are_refused() {
        let overlap = spans_to_bio(&[span(0, 2, "x"), span(1, 3, "y")], 3).unwrap_err();
        assert_eq!(overlap.to_string(), "word 1 is in span `y` and in an earlier span");
        for bad in [span(2, 4, "x"), span(1, 1, "x"), span(2, 1, "x")] {
            assert!(matches!(spans_to_bio(&[bad], 3), Err(SpanError::OutOfRange { words: 3, .. })));
        }
    }

    fn tags() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(
            prop::sample::select(vec!["O", "B-x", "I-x", "B-a-b", "I-a-b", "I-y", "B-O"]),
            0..12,
        )
        .prop_map(|tags| tags.into_iter().map(str::to_owned).collect())
    }

    proptest! {
        #[test]
        fn spans_survive_bio(tags in tags()) {
            let spans = bio_to_spans(&tags, SpanMode::Default);
            let bio = spans_to_bio(&spans, tags.len()).unwrap();
            for mode in [SpanMode::Default, SpanMode::StrictIob2] {
                prop_assert_eq!(&bio_to_spans(&bio, mode), &spans);
            }
        }

        #[test]
        fn well_formed_bio_survives_sbio(tags in tags()) {
            let bio = spans_to_bio(&bio_to_spans(&tags, SpanMode::StrictIob2), tags.len()).unwrap();
            if !bio.iter().any(|tag| tag == "B-O") {
                prop_assert_eq!(sbio_to_bio(&bio_to_sbio(&bio)), bio);
            }
        }

        #[test]
        fn any_sbio_becomes_well_formed_bio(tags in prop::collection::vec("[OIx-]{1,2}", 0..12)) {
            let bio = sbio_to_bio(&tags);
            prop_assert_eq!(bio.len(), tags.len());
            prop_assert_eq!(sbio_to_bio(&bio_to_sbio(&bio)), bio);
        }
    }
}
