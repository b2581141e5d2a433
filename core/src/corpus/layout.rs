//! The layouts by name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::CorpusError;
use crate::suggest;
use crate::text::words::{WordRule, WordSplitting};

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
    /// Word first, tag last, two or more columns.
    Conll,
    /// JSON Lines or a JSON array: tokens and tags, or text and spans.
    Jsonl,
    /// Parquet: rows with the fields of [`Layout::Jsonl`], as Hugging Face distributes data sets.
    Parquet,
    /// A table with commas: one word per row, or one text per row.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One text per line, without annotation.
    Text,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 10] = [
        Self::SeqInOut,
        Self::BioColumns,
        Self::Mtop,
        Self::Mtod,
        Self::Conll,
        Self::Jsonl,
        Self::Parquet,
        Self::Csv,
        Self::Tsv,
        Self::Text,
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeqInOut => "seq-in-out",
            Self::BioColumns => "bio-columns",
            Self::Mtop => "mtop",
            Self::Mtod => "mtod",
            Self::Conll => "conll",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Text => "text",
        }
    }

    /// The layout that files of an extension have.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "conll" | "conll03" | "conllu" | "iob" | "iob2" | "bioes" | "iobes" => Self::Conll,
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "parquet" => Self::Parquet,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "txt" | "text" => Self::Text,
            _ => return None,
        })
    }

    /// The files of a corpus at `path`: two in a folder for [`Layout::SeqInOut`], else `path` itself.
    pub(super) fn files(self, path: &Path) -> Vec<PathBuf> {
        match self {
            Self::SeqInOut => ["seq.in", "seq.out"].map(|name| path.join(name)).into(),
            _ => vec![path.to_owned()],
        }
    }

    /// All names, for messages.
    pub(super) fn known() -> String {
        Self::ALL.map(|layout| format!("`{layout}`")).join(", ")
    }

    /// How free text is cut into the words of this layout's corpora, if neither a configuration nor the corpus' own tokens say; see
    /// [`crate::text::words`] for how well that fits.
    pub fn words(self) -> WordSplitting {
        let (rule, lowercase) = match self {
            // These corpora are lower-cased and have no punctuation.
            Self::SeqInOut | Self::BioColumns => (WordRule::Whitespace, true),
            Self::Mtop => (WordRule::Clitics, false),
            Self::Mtod => (WordRule::Punctuation, true),
            Self::Conll | Self::Jsonl | Self::Parquet | Self::Csv | Self::Tsv | Self::Text => {
                (WordRule::Punctuation, false)
            }
        };
        WordSplitting { rule, lowercase }
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
            known: Self::known(),
            hint: suggest::hint(name, names),
        })
    }
}
