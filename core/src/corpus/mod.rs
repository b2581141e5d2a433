//! Labelled sentences from files in the layouts in which slot-filling and NER corpora are distributed.
//!
//! [`CorpusSpec`] says where the splits of a corpus lie and how to read them; [`CorpusSpec::load`] reads them. Reading stops at the
//! first bad line with an error that names file, line and fault: a model must not be trained on half of what was meant.

mod bio_columns;
mod conll;
mod draw;
mod error;
mod facebook;
mod jsonl;
pub mod known;
mod mtod;
mod mtop;
mod read;
mod seq_in_out;
mod slots;
mod spec;
pub mod stats;
mod transform;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::error::{CorpusError, Fault};
pub use self::read::read;
pub use self::spec::{CorpusSpec, Split, Splits, subset, subset_size};
pub use self::transform::{LabelCase, LabelPreset, LabelTransform, Labels};
use crate::suggest;
use crate::text::labels::{LabelError, LabelSet};
use crate::text::words::{WordRule, WordSplitting};

/// A sentence of a corpus. It has at least one word, as many tags as words, and no word or label that is empty or holds white space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// The words as the model reads them.
    pub words: Vec<String>,
    /// One BIO tag a word, as distributed but for the label transform: ill-formed sequences stay so.
    pub tags: Vec<String>,
    /// The raw text, where the layout has it.
    pub text: Option<String>,
    /// Start and end of each word in the raw text, in characters.
    pub offsets: Option<Vec<(usize, usize)>>,
    /// Line of the file at which the sentence begins, from 1.
    pub line: usize,
}

/// A layout of corpus files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A folder with `seq.in` and `seq.out` (ATIS, SNIPS).
    SeqInOut,
    /// `TAG<TAB>word` lines (MIT movie, trivia, restaurant).
    BioColumns,
    /// Eight tab columns with byte offsets (mTOP).
    Mtop,
    /// Five tab columns with character offsets (mTOD).
    Mtod,
    /// Word first, tag last, two to four columns.
    Conll,
    /// JSON Lines: tokens and tags, or text and spans.
    Jsonl,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 6] =
        [Self::SeqInOut, Self::BioColumns, Self::Mtop, Self::Mtod, Self::Conll, Self::Jsonl];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeqInOut => "seq-in-out",
            Self::BioColumns => "bio-columns",
            Self::Mtop => "mtop",
            Self::Mtod => "mtod",
            Self::Conll => "conll",
            Self::Jsonl => "jsonl",
        }
    }

    /// How free text is cut into the words of this layout's corpora; see [`crate::text::words`] for how well that fits.
    pub fn words(self) -> WordSplitting {
        let (rule, lowercase) = match self {
            // These corpora are lower-cased and have no punctuation.
            Self::SeqInOut | Self::BioColumns => (WordRule::Whitespace, true),
            Self::Mtop => (WordRule::Clitics, false),
            Self::Mtod => (WordRule::Punctuation, true),
            Self::Conll => (WordRule::Punctuation, false),
            Self::Jsonl => (WordRule::Whitespace, false),
        };
        WordSplitting { rule, lowercase }
    }

    /// Whether each word has a line of its own.
    fn is_columns(self) -> bool {
        matches!(self, Self::BioColumns | Self::Conll)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = CorpusError;

    fn from_str(name: &str) -> Result<Self, CorpusError> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|layout| layout.name() == name).ok_or_else(|| CorpusError::UnknownLayout {
            name: name.to_owned(),
            known: names.map(|known| format!("`{known}`")).join(", "),
            hint: suggest::hint(name, names),
        })
    }
}

/// The label inventory of `sentences`; `origin` (a file, a task) is named in errors.
///
/// # Errors
/// As [`LabelSet::from_tags`]; never for sentences that were read from a file.
pub fn label_set(sentences: &[Sentence], origin: &str) -> Result<LabelSet, LabelError> {
    LabelSet::from_tags(sentences.iter().flat_map(|sentence| &sentence.tags).map(String::as_str), origin)
}

#[cfg(test)]
mod tests;
