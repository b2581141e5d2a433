//! Tag schemes: the ways in which files write labelled spans as one tag per word, and their conversion to BIO.
//!
//! [`SchemeObserver`](super::scheme_observer::SchemeObserver) recognizes the scheme of a whole file, [`Recognized::convert`] rewrites one sentence as BIO tags, and
//! [`Scheme::tags`] writes spans in any scheme.

use serde::{Deserialize, Serialize};

pub use super::scheme_form::{Part, Position, TagForm};
use super::spans::{Span, SpanError, spans_to_bio};

/// A way to write spans as tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `B-x` begins each span, `I-x` goes on (also called IOB2).
    #[serde(alias = "iob2")]
    Bio,
    /// `I-x` for every word of a span; `B-x` only where a span directly follows another one of the same label (CoNLL-2003).
    Iob1,
    /// One tag per label, `x` or `I-x`: adjacent spans of one label cannot be told apart and are read as one.
    Io,
    /// As BIO, and `E-x` ends a span, `S-x` is a span of one word (also called BIOES).
    #[serde(alias = "bioes")]
    Iobes,
    /// As IOBES with `L-x` for the last and `U-x` for the only word of a span (also called BILUO).
    #[serde(alias = "biluo")]
    Bilou,
    /// As IOBES with `M-x` in the middle of a span.
    Bmes,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 6] = [Self::Bio, Self::Iob1, Self::Io, Self::Iobes, Self::Bilou, Self::Bmes];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bio => "bio",
            Self::Iob1 => "iob1",
            Self::Io => "io",
            Self::Iobes => "iobes",
            Self::Bilou => "bilou",
            Self::Bmes => "bmes",
        }
    }

    /// The letters that stand for positions in this scheme.
    pub fn letters(self) -> &'static str {
        match self {
            Self::Bio | Self::Iob1 => "BI",
            Self::Io => "I",
            Self::Iobes => "BIES",
            Self::Bilou => "BILU",
            Self::Bmes => "BMES",
        }
    }

    /// Whether the scheme marks the last word of each span.
    fn marks_ends(self) -> bool {
        matches!(self, Self::Iobes | Self::Bilou | Self::Bmes)
    }

    /// Whether an inside tag opens a span as a rule.
    fn inside_opens(self) -> bool {
        matches!(self, Self::Iob1 | Self::Io)
    }

    /// The tags of `spans` over `words` words, in their usual form: `B-x`, for IO the bare label.
    ///
    /// # Errors
    /// If a span is empty or leaves the sentence, or two spans share a word.
    pub fn tags(self, spans: &[Span], words: usize) -> Result<Vec<String>, SpanError> {
        let mut tags = spans_to_bio(spans, words)?;
        for span in spans {
            let label = &span.label;
            let follows = spans.iter().any(|other| other.end == span.start && other.label == *label);
            for (word, tag) in tags.iter_mut().enumerate().take(span.end).skip(span.start) {
                let (first, last) = (word == span.start, word + 1 == span.end);
                let letter = match (self, first, last) {
                    (Self::Io, ..) => {
                        tag.clone_from(label);
                        continue;
                    }
                    (Self::Bio, first, _) => {
                        if first {
                            'B'
                        } else {
                            'I'
                        }
                    }
                    (Self::Iob1, first, _) => {
                        if first && follows {
                            'B'
                        } else {
                            'I'
                        }
                    }
                    (Self::Iobes | Self::Bmes, true, true) => 'S',
                    (Self::Bilou, true, true) => 'U',
                    (_, true, false) => 'B',
                    (Self::Iobes | Self::Bmes, false, true) => 'E',
                    (Self::Bilou, false, true) => 'L',
                    (Self::Bmes, false, false) => 'M',
                    (_, false, false) => 'I',
                };
                *tag = format!("{letter}-{label}");
            }
        }
        Ok(tags)
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the tags of a file were recognized as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognized {
    /// Where a tag sequence begins and ends a span.
    pub scheme: Scheme,
    /// How the tags are written.
    pub form: TagForm,
    /// Tags without a label (`B`, `I`, `O`) get this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// One sentence's tags as BIO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// Well-formed BIO tags, one per word.
    pub tags: Vec<String>,
    /// Tags that were written differently.
    pub changed: usize,
    /// Tags out of sequence, for instance an `I-x` of BIO after `O`. They are read as conlleval does: such a tag opens a span.
    pub repaired: usize,
}

impl Recognized {
    /// The BIO tags of one sentence.
    ///
    /// # Errors
    /// The index of the first tag that does not fit the scheme.
    pub fn convert<T: AsRef<str>>(&self, tags: &[T]) -> Result<Converted, usize> {
        let mut converted = Converted { tags: Vec::with_capacity(tags.len()), ..Converted::default() };
        let mut open: Option<String> = None;
        for (word, tag) in tags.iter().map(AsRef::as_ref).enumerate() {
            let Part { position, label } = self.part(tag).ok_or(word)?;
            let goes_on = open.as_deref() == Some(label);
            let bio = match position {
                Position::Outside => "O".to_owned(),
                Position::Inside | Position::End if goes_on => format!("I-{label}"),
                _ => format!("B-{label}"),
            };
            let continues = goes_on && matches!(position, Position::Inside | Position::End);
            // A span whose end should have been marked, and was not.
            converted.repaired += usize::from(self.scheme.marks_ends() && open.is_some() && !continues);
            let strays = matches!(position, Position::Inside | Position::End) && !goes_on;
            converted.repaired += usize::from(strays && !self.scheme.inside_opens());
            open = match position {
                Position::Outside | Position::End | Position::Single => None,
                Position::Begin | Position::Inside => Some(label.to_owned()),
            };
            converted.changed += usize::from(bio != tag);
            converted.tags.push(bio);
        }
        converted.repaired += usize::from(self.scheme.marks_ends() && open.is_some());
        Ok(converted)
    }

    /// The parts of a tag; `None` if it does not fit.
    fn part<'a>(&'a self, tag: &'a str) -> Option<Part<'a>> {
        let part = self.form.parse(tag, self.label.as_deref())?;
        let fits = match part.position {
            Position::Outside => true,
            _ if self.form == TagForm::Bare => true,
            _ => self.form.letter(tag).is_some_and(|letter| self.scheme.letters().contains(letter)),
        };
        fits.then_some(part)
    }
}
