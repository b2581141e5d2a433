//! What can be wrong with a corpus.

use std::path::PathBuf;

use crate::files::FileError;

/// A corpus that cannot be read, or not as asked.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not UTF-8.
    #[error("`{}`, line {line}: not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line of the first bad byte, from 1.
        line: usize,
    },
    /// A line is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// `seq.in` and `seq.out` do not align.
    #[error("`{}` has {words} lines but `{}` has {tags}", words_path.display(), tags_path.display())]
    Lines {
        /// The file of words.
        words_path: PathBuf,
        /// Its lines.
        words: usize,
        /// The file of tags.
        tags_path: PathBuf,
        /// Its lines.
        tags: usize,
    },
    /// A file holds nothing.
    #[error("`{}` holds no sentence", .0.display())]
    NoSentences(PathBuf),
    /// A share that is no share.
    #[error("{name} is {value}, but must be over 0 and {bound} 1")]
    Fraction {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// `at most` or `under`.
        bound: &'static str,
    },
    /// A hold-out or subset that leaves nothing.
    #[error("{share} of the {sentences} sentences of `{}` leaves none\nhint: use more sentences or another fraction", path.display())]
    NothingLeft {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        share: f64,
        /// Sentences there are.
        sentences: usize,
    },
    /// A folder without any of the paper's corpora.
    #[error("`{}` holds none of the folders {names}", folder.display())]
    NoKnownCorpus {
        /// The folder.
        folder: PathBuf,
        /// All that would have done.
        names: String,
    },
    /// An unknown name of a layout.
    #[error("unknown layout `{name}`; known are {known}{hint}")]
    UnknownLayout {
        /// The name.
        name: String,
        /// All names.
        known: String,
        /// The nearest one.
        hint: String,
    },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Wrong number of columns.
    #[error("{got} columns, but layout `{layout}` has {want}")]
    Columns {
        /// The layout.
        layout: &'static str,
        /// Columns it has.
        want: &'static str,
        /// Columns there are.
        got: usize,
    },
    /// Words and tags do not align.
    #[error("{words} words but {tags} tags")]
    Count {
        /// Words.
        words: usize,
        /// Tags.
        tags: usize,
    },
    /// Tokens and their offsets do not align.
    #[error("{tokens} tokens but {spans} token spans")]
    TokenSpans {
        /// Tokens.
        tokens: usize,
        /// Offsets.
        spans: usize,
    },
    /// Nothing to tag.
    #[error("the sentence has no words")]
    NoWords,
    /// An empty word.
    #[error("word {0} is empty")]
    EmptyWord(usize),
    /// A word that SentT' would cut in two.
    #[error("word `{0}` holds white space")]
    WordWhiteSpace(String),
    /// A tag of another scheme.
    #[error("tag `{0}` is not `O`, `B-label` or `I-label`")]
    NotBio(String),
    /// A tag without a label.
    #[error("the label of `{0}` is empty")]
    EmptyLabel(String),
    /// A label that SentT' would cut in two.
    #[error("label `{0}` holds white space")]
    LabelWhiteSpace(String),
    /// A label that means something else in sBIO.
    #[error("label `{0}` is a tag of its own in sBIO\nhint: rename the label")]
    ReservedLabel(String),
    /// A column or line is not the JSON that the layout has.
    #[error("not the JSON of layout `{layout}`: {reason}")]
    Json {
        /// The layout.
        layout: &'static str,
        /// The parser's words.
        reason: String,
    },
    /// A slot column that cannot be read.
    #[error("slot `{0}` is not `start:end:label`")]
    Slot(String),
    /// A span that leaves the text.
    #[error("{what} {start}:{end} does not fit the text of {length} {unit}")]
    Range {
        /// `slot`, `span` or `token`.
        what: &'static str,
        /// First character or byte.
        start: usize,
        /// One past the last.
        end: usize,
        /// The text's length.
        length: usize,
        /// `characters` or `bytes`.
        unit: &'static str,
    },
    /// Two slots share characters.
    #[error("`{first}` and `{second}` overlap at character {at}\nhint: spans must be flat")]
    Overlap {
        /// Label of the first.
        first: String,
        /// Label of the second.
        second: String,
        /// Where the second begins.
        at: usize,
    },
    /// A slot without a word.
    #[error("`{label}` at {start}:{end} covers no word of its own")]
    NoWordInSlot {
        /// The label.
        label: String,
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
    },
}

/// A fault and its line, from 1; the caller knows the file.
pub(super) type LineFault = (usize, Fault);
