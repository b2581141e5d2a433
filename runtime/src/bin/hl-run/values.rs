//! The values of options, as typed on the command line.

use clap::ValueEnum;
use hyperloader_cli::OutputFormat;
use hyperloader_core::corpus::{LabelPreset, Layout, OffsetUnit};
use hyperloader_runtime::Alignment;

/// The form of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One text per line, split into words by the rule of the task's corpus
    Text,
    /// One sentence per line, its words separated by white space
    Words,
    /// JSON Lines or a JSON array: objects with a text or with tokens; other fields are kept
    #[value(alias = "json")]
    Jsonl,
    /// Rows of a Parquet file with the fields of `jsonl` (needs the feature `parquet`)
    Parquet,
    /// One word per line, a blank line between sentences; further columns are kept
    Conll,
    /// A table with commas or semicolons and a header: a text per row or a word per row
    Csv,
    /// A table with tabs and a header
    Tsv,
    /// Lines of a tag, a tab and a word (MIT corpora)
    BioColumns,
    /// Rows of mTOP
    Mtop,
    /// Rows of mTOD
    Mtod,
}

impl InputFormat {
    /// The layout to read.
    pub(crate) fn layout(self) -> Layout {
        match self {
            Self::Text | Self::Words => Layout::Text,
            Self::Jsonl => Layout::Jsonl,
            Self::Parquet => Layout::Parquet,
            Self::Conll => Layout::Conll,
            Self::Csv => Layout::Csv,
            Self::Tsv => Layout::Tsv,
            Self::BioColumns => Layout::BioColumns,
            Self::Mtop => Layout::Mtop,
            Self::Mtod => Layout::Mtod,
        }
    }

    /// Whether a record is a line, so that a sentence on the command line can be one.
    pub(crate) fn is_line(self) -> bool {
        matches!(self, Self::Text | Self::Words)
    }
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Words above their tags, and the spans; it may change between versions
    Text,
    /// The text with its spans marked and colored, and a legend; it may change between versions
    Pretty,
    /// One JSON array with an object per record
    Json,
    /// JSON Lines: one object per record, each on its own line
    Jsonl,
    /// A Parquet file with a row per record (needs the feature `parquet` and `--output`)
    Parquet,
    /// One word and its BIO tag per line, a blank line after each record
    Conll,
    /// A table with tabs and a header, one span per row
    Tsv,
    /// brat's standoff format: a folder with `NAME.txt` and `NAME.ann` for each input
    Brat,
    /// One web page that needs nothing else
    Html,
}

impl Format {
    /// The format that files of an extension have.
    pub(crate) fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "txt" | "text" => Self::Text,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            "parquet" => Self::Parquet,
            "conll" | "iob" | "iob2" => Self::Conll,
            "tsv" => Self::Tsv,
            "html" | "htm" => Self::Html,
            _ => return None,
        })
    }

    /// Whether what is written of a record does not depend on other records, so that an unfinished file can be continued.
    pub(crate) fn can_resume(self) -> bool {
        matches!(self, Self::Text | Self::Jsonl | Self::Conll | Self::Tsv)
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The format of a single record of data, as other commands print it; `None` if there is none.
    pub(crate) fn of_data(self) -> Option<OutputFormat> {
        match self {
            Self::Text => Some(OutputFormat::Text),
            Self::Json => Some(OutputFormat::Json),
            Self::Jsonl => Some(OutputFormat::Jsonl),
            Self::Pretty | Self::Parquet | Self::Conll | Self::Tsv | Self::Brat | Self::Html => None,
        }
    }
}

pub(crate) const OFFSETS: [(OffsetUnit, &str, &str); 3] = [
    (OffsetUnit::Chars, "chars", "Characters (Unicode code points), as Python counts"),
    (OffsetUnit::Bytes, "bytes", "Bytes of UTF-8, as Rust and Go count"),
    (OffsetUnit::Utf16, "utf16", "Units of UTF-16, as JavaScript and Java count"),
];

pub(crate) const ALIGNMENTS: [(Alignment, &str, &str); 2] = [
    (Alignment::Order, "order", "The first tag belongs to the first word and so on, as the paper evaluates"),
    (
        Alignment::Sentinel,
        "sentinel",
        "A tag belongs to the word of the sentinel before it: a missing tag does not shift the others",
    ),
];

/// The presets of labels, as typed on the command line.
pub(crate) const LABELS: [(LabelPreset, &str, &str); 3] = [
    (LabelPreset::Keep, "keep", "As in the file; those of mTOP and mTOD as training has them"),
    (LabelPreset::Plain, "plain", "Short and in lower case: the corpora of the paper"),
    (LabelPreset::Reference, "reference", "As the authors of the paper trained on them"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_offsets_are_those_of_the_library() {
        assert!(OFFSETS.iter().all(|(value, name, _)| value.name() == *name));
        assert_eq!(OFFSETS.len(), OffsetUnit::ALL.len());
    }
}
