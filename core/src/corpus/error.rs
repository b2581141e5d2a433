//! Errors of reading a corpus.

use std::io;
use std::path::{Path, PathBuf};

use super::pattern::PatternError;
use crate::files::FileError;
use crate::text::labels::MAX_LABEL;
use crate::text::scheme_observer::SchemeError;

/// A corpus that cannot be read, or not as asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum CorpusError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Description of the fault.
        fault: Box<Fault>,
    },
    /// A file without annotation.
    #[error("`{}` has no annotation: {found}", path.display())]
    NoAnnotation {
        /// Path of the file.
        path: PathBuf,
        /// What there is instead, and a hint.
        found: String,
    },
    /// A layout that the name of the file does not tell.
    #[error(
        "the layout of `{}` does not follow from its name\nhint: set `layout`; known are {known}",
        path.display()
    )]
    NoLayout {
        /// Path of the file.
        path: PathBuf,
        /// All names.
        known: String,
    },
    /// A file holds nothing.
    #[error("`{}` holds no sentence{left_out}", path.display())]
    NoSentences {
        /// Path of the file.
        path: PathBuf,
        /// What was left out, if something was.
        left_out: String,
    },
    /// A share that is no share.
    #[error("{name} is {value}, but must be over 0 and {bound} 1")]
    Fraction {
        name: &'static str,
        value: f64,
        /// `at most` or `under`.
        bound: &'static str,
    },
    /// A hold-out or subset that leaves nothing.
    #[error("{share} of the {sentences} sentences of `{}` leaves none\nhint: use more sentences or another fraction", path.display())]
    NothingLeft {
        /// Path of the file.
        path: PathBuf,
        /// The requested value.
        share: f64,
        /// Sentences there are.
        sentences: usize,
    },
    /// A pattern of file names stands for no files.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Files of a pattern with different layouts.
    #[error("`{}` has layout `{first}`, but `{}` has `{second}`\nhint: the files of a pattern have one layout", paths.0.display(), paths.1.display())]
    Layouts {
        /// The first file, and the first with another layout.
        paths: Box<(PathBuf, PathBuf)>,
        first: &'static str,
        second: &'static str,
    },
    /// A layout of two files cannot be read as a stream.
    #[error(
        "layout `{0}` cannot be streamed or read from several files\nhint: layouts of one file can, such as `jsonl`"
    )]
    NoStream(&'static str),
    /// A folder without any of the paper's corpora.
    #[error("`{}` holds none of the folders {names}", folder.display())]
    NoKnownCorpus {
        /// Path of the folder.
        folder: PathBuf,
        /// All that would have done.
        names: String,
    },
    /// An unknown name of a layout.
    #[error("unknown layout `{name}`; known are {known}{hint}")]
    UnknownLayout {
        name: String,
        /// All names.
        known: String,
        /// The nearest one.
        hint: String,
    },
}

/// The fault of a line.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum Fault {
    /// The system could not read on, or the compressed file is damaged.
    #[error("cannot read on: {0}")]
    Read(io::Error),
    /// A byte that is not UTF-8.
    #[error(
        "not UTF-8: byte 0x{byte:02X} at position {column} of the line, byte {position} of the file\n\
         hint: convert the file, for instance from Latin-1 with `iconv -f ISO-8859-1 -t UTF-8`"
    )]
    NotUtf8 {
        byte: u8,
        /// Its place in the line (or JSON value), in bytes from 1.
        column: usize,
        /// Its place in the file (after decompression), in bytes from 1.
        position: u64,
    },
    /// A file with the byte order mark of UTF-16.
    #[error("the file is UTF-16, not UTF-8\nhint: convert it with `iconv -f UTF-16 -t UTF-8`")]
    Utf16,
    /// A line that would take too much memory.
    #[error("the line is longer than {0} MiB")]
    LongLine(usize),
    /// A character that no text has; mostly UTF-16 without a byte order mark.
    #[error(
        "word `{0}` holds a NUL character\nhint: if the file is UTF-16, convert it with `iconv -f UTF-16LE -t UTF-8`"
    )]
    Nul(String),
    /// Tags that fit no scheme.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// Another number of columns than before.
    #[error(
        "{got} columns, but line {first} has {want}\nhint: `columns` names the columns, for instance `columns = [\"word\", \"*\", \"tag\"]`"
    )]
    Width {
        /// Columns of this line.
        got: usize,
        /// Line of the first word.
        first: usize,
        want: usize,
    },
    /// Another number of columns than `columns` names.
    #[error("{got} columns do not fit `columns = {columns}`")]
    Roles {
        /// Columns of this line.
        got: usize,
        columns: String,
    },
    /// A first column that numbers the words.
    #[error(
        "the first of {columns} columns counts the words, so which ones are word and tag is not clear\n\
         hint: name them, for instance `columns = {hint}`"
    )]
    IndexColumn {
        /// Columns there are.
        columns: usize,
        /// A setting that would do.
        hint: String,
    },
    /// A number that is out of sequence in a column that counts.
    #[error("`{got}` in the column that numbers the words, expected {want}")]
    Index {
        /// The value found.
        got: String,
        /// The expected value.
        want: usize,
    },
    /// A JSON object without a known set of fields.
    #[error(
        "a record needs `tokens` and `tags`, or `text` and `spans`; this one has {keys}\n\
         hint: other names can be given, for instance `fields = {{ text = \"body\", spans = \"marks\" }}`"
    )]
    Keys {
        /// The keys that were found, in words.
        keys: String,
    },
    /// Two fields that could both hold the spans.
    #[error(
        "`{first}` and `{second}` both look like spans\nhint: name the right one, for instance `fields = {{ spans = \"{first}\" }}`"
    )]
    TwoFields {
        /// The first field.
        first: String,
        /// The second field.
        second: String,
    },
    /// A field of another type.
    #[error("field `{field}` is {found}, expected {expected}")]
    Field {
        field: String,
        /// The content found.
        found: String,
        /// The expected content.
        expected: &'static str,
    },
    /// An integer tag without a name.
    #[error(
        "tag {value} has no name: {names}\nhint: list all names in order, for instance `tag_names = [\"O\", \"B-PER\", \"I-PER\"]`"
    )]
    TagNumber {
        value: String,
        /// How many names there are, in words.
        names: String,
    },
    /// A span that cannot be read.
    #[error("span {span} of `{field}` is not {expected}")]
    Span {
        field: String,
        /// The span as JSON, shortened.
        span: String,
        /// The expected value.
        expected: &'static str,
    },
    /// A span whose own text is not what its offsets cut out.
    #[error("span {start}:{end} (`{label}`) says that its text is `{own}`, but there the text has `{found}`")]
    SpanText {
        label: String,
        /// First character, byte or UTF-16 unit.
        start: usize,
        /// One past the last.
        end: usize,
        /// The span's own text.
        own: String,
        /// What its offsets cut out.
        found: String,
    },
    /// A token whose own text is not what its offsets cut out.
    #[error("token {start}:{end} says that its text is `{own}`, but there the text has `{found}`")]
    TokenText {
        /// First character, byte or UTF-16 unit.
        start: usize,
        /// One past the last.
        end: usize,
        /// The token's own text.
        own: String,
        /// What its offsets cut out.
        found: String,
    },
    /// A span inside a word, though all spans would be whole words in another unit.
    #[error("span {start}:{end} (`{label}`) cuts a word")]
    CutsWord {
        label: String,
        /// First character, byte or UTF-16 unit.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// A span that begins or ends inside a word.
    #[error(
        "span {start}:{end} (`{label}`) does not begin and end at word edges\n\
         hint: `span_alignment = \"expand\"` widens it to whole words, and another rule of `words` may cut the text at its ends"
    )]
    Narrow {
        label: String,
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// A fault with a hint of its own.
    #[error("{fault}{hint}")]
    Hinted {
        fault: Box<Fault>,
        /// The hint, on a line of its own.
        hint: String,
    },
    /// A table without a header that is known.
    #[error(
        "the columns {found} hold neither a text nor a word per row\n\
         hint: name them, for instance `fields = {{ sentence = \"id\", tokens = \"word\", tags = \"ner\" }}`"
    )]
    Header { found: String },
    /// Two columns of a table with one name.
    #[error(
        "the columns {first} and {second} of the table are both called `{name}`\nhint: rename one of them"
    )]
    ColumnName {
        name: String,
        /// Number of the first column, from 1.
        first: usize,
        /// Number of the other column.
        second: usize,
    },
    /// A table row that cannot be read.
    #[error("not a row of the table: {0}")]
    Row(String),
    /// `seq.in` and `seq.out` do not align.
    #[error("`seq.in` has {words} lines but `seq.out` has {tags}")]
    Lines {
        /// Lines of `seq.in`.
        words: usize,
        /// Lines of `seq.out`.
        tags: usize,
    },
    /// A fault of the second file of a pair.
    #[error("in `{file}`: {fault}")]
    Of {
        /// Name of the file.
        file: &'static str,
        fault: Box<Fault>,
    },
    /// Wrong number of columns.
    #[error("{got} columns, but layout `{layout}` has {want}")]
    Columns {
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
    /// A tag without a label.
    #[error("the label of `{0}` is empty")]
    EmptyLabel(String),
    /// A label that no annotator wrote.
    #[error("label `{label}...` has {bytes} bytes, at most {MAX_LABEL} are allowed")]
    LongLabel {
        /// The beginning of the label.
        label: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A label that SentT' would cut in two.
    #[error("label `{0}` holds white space")]
    LabelWhiteSpace(String),
    /// A label that means something else in sBIO.
    #[error("label `{0}` is a tag of its own in sBIO\nhint: rename the label")]
    ReservedLabel(String),
    /// A column or line is not the JSON that the layout has.
    #[error("not the JSON of layout `{layout}`: {reason}")]
    Json {
        layout: &'static str,
        /// The parser's words.
        reason: String,
    },
    /// Two labels that a transform makes one.
    #[error(
        "labels `{first}` and `{second}` both become `{label}`\n\
         hint: `labels = \"keep\"` keeps them apart; rename one of them if they mean the same"
    )]
    MergedLabels {
        /// The first label as distributed.
        first: String,
        /// The second label as distributed.
        second: String,
        /// What the transform makes of both.
        label: String,
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
        /// `characters`, `bytes` or `UTF-16 units`.
        unit: &'static str,
    },
    /// Two slots share characters.
    #[error("`{first}` and `{second}` overlap at character {at}\nhint: {hint}")]
    Overlap {
        /// Label of the first.
        first: String,
        /// Label of the second.
        second: String,
        /// Where the second begins.
        at: usize,
        /// What can be done.
        hint: &'static str,
    },
    /// A slot without a word.
    #[error("`{label}` at {start}:{end} covers no word of its own")]
    NoWordInSlot {
        label: String,
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
    },
}

/// A fault and its line; the caller knows the file.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LineFault {
    /// The line, from 1.
    pub line: usize,
    /// Description of the fault.
    pub fault: Fault,
}

impl LineFault {
    pub(super) fn new(line: usize, fault: Fault) -> Self {
        Self { line, fault }
    }

    /// The same as an error of a file.
    pub fn in_file(self, path: &Path) -> CorpusError {
        CorpusError::Line { path: path.to_owned(), line: self.line, fault: Box::new(self.fault) }
    }
}
