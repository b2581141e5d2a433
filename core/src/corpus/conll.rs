//! CoNLL files: one word per line with its tag, in two or more columns separated by tabs or blanks; blank lines between sentences.
//!
//! The word is the first column and the tag the last one, unless `columns` says otherwise. Blanks around a column are padding.
//! `-DOCSTART-` lines and comment lines (`# id ...`) are skipped and counted; a line such as `# O` is a word. A first column that
//! counts the words of each sentence is recognized: of three columns it is skipped, of more the columns must be named.
//!
//! The MIT corpora (`TAG<TAB>word`, Liu et al. 2013) are read by the same reader.

use std::collections::{HashSet, VecDeque};

use super::error::{Fault, LineFault};
use super::options::{Columns, ReadOptions, Role};
use super::reader::{Notes, Reader};
use super::record::{Gold, Record};
use super::source::{Line, Source};
use crate::text::spans::Bio;

/// Lines that are looked at before the first sentence is read.
const AHEAD: usize = 1000;

/// Reads files of one word per line.
pub(super) struct ColumnReader<'a> {
    source: Source<'a>,
    kind: Kind,
    ahead: VecDeque<Result<Line, LineFault>>,
    shape: Option<Shape>,
    notes: Notes,
    ended: bool,
    /// Whether records are read to be tagged: a column with tags may be missing, and columns are kept.
    to_tag: bool,
    /// `-DOCSTART-` lines before the next sentence.
    pending: Vec<String>,
}

/// The role of each column.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// As in this list.
    Named(Columns),
    /// Word first, tag last.
    Conll,
    /// The tag, a tab and the word.
    BioColumns,
}

/// What the first lines of a file show.
#[derive(Debug, Default)]
struct Shape {
    /// Columns of the first word, and its line.
    width: Option<(usize, usize)>,
    /// Tags that occur.
    tags: HashSet<String>,
    /// Whether the first column counts.
    index: bool,
}

/// A word and its tag.
struct Row {
    word: String,
    tag: Option<String>,
    index: Option<String>,
    /// All columns, if they are kept.
    columns: Vec<String>,
}

impl<'a> ColumnReader<'a> {
    pub(super) fn new(source: Source<'a>, kind: Kind, options: &ReadOptions) -> Self {
        let (ahead, notes, to_tag) = (VecDeque::new(), Notes::default(), options.to_tag);
        Self { source, kind, ahead, shape: None, notes, ended: false, to_tag, pending: Vec::new() }
    }

    fn line(&mut self) -> Option<Result<Line, LineFault>> {
        self.ahead.pop_front().or_else(|| self.source.line())
    }

    /// Looks at the first lines.
    fn look_ahead(&mut self) -> Shape {
        while self.ahead.len() < AHEAD
            && let Some(line) = self.source.line()
        {
            self.ahead.push_back(line);
        }
        let lines = || self.ahead.iter().filter_map(|line| line.as_ref().ok());
        let plain = lines().filter(|line| !line.text.starts_with('#') && !is_document_start(&line.text));
        let words = plain.filter(|line| !line.text.trim().is_empty());
        let mut shape = Shape::default();
        for line in words {
            let columns = split(&line.text);
            shape.width.get_or_insert((columns.len(), line.number));
            shape.tags.extend(columns.last().map(|tag| (*tag).to_owned()));
        }
        shape.index = matches!(self.kind, Kind::Conll) && self.counts();
        self.notes.index_column = shape.index;
        shape
    }

    /// Whether the first column counts the words of each sentence from 0 or 1 on.
    fn counts(&self) -> bool {
        let mut expected: Option<usize> = None;
        let (mut words, mut longest) = (0, 0);
        for line in self.ahead.iter().filter_map(|line| line.as_ref().ok()) {
            if line.text.trim().is_empty() {
                (expected, words) = (None, 0);
                continue;
            }
            if line.text.starts_with('#') {
                continue;
            }
            let columns = split(&line.text);
            // Two columns are a word and a tag, if they look like it.
            if columns.len() < 2 || (columns.len() == 2 && looks_like_tag(columns[1])) {
                return false;
            }
            match (columns[0].parse::<usize>(), expected) {
                (Ok(number), None) if number <= 1 => expected = Some(number + 1),
                // A gap is an error, but not one of words.
                (Ok(number), Some(want)) if number >= want => expected = Some(number + 1),
                _ => return false,
            }
            words += 1;
            longest = longest.max(words);
        }
        longest > 1
    }

    /// The sentence that begins at the next word; `None` at the end.
    fn sentence(&mut self, shape: &mut Shape) -> Option<Result<Record, LineFault>> {
        if let Some(fault) = self.unclear(shape) {
            self.ended = true;
            return Some(Err(fault));
        }
        let mut record = Record { comments: std::mem::take(&mut self.pending), ..Record::default() };
        let (mut words, mut tags) = (Vec::new(), Vec::new());
        let mut failed: Option<LineFault> = None;
        loop {
            let line = match self.line() {
                None => break,
                Some(Ok(line)) => line,
                Some(Err(fault)) => {
                    failed.get_or_insert(fault);
                    continue;
                }
            };
            let document = is_document_start(&line.text) && !matches!(self.kind, Kind::BioColumns);
            self.notes.document_starts += usize::from(document);
            if line.text.trim().is_empty() || document {
                let begun = !words.is_empty() || failed.is_some();
                if document {
                    if begun { &mut self.pending } else { &mut record.comments }.push(line.text);
                }
                match begun {
                    true => break,
                    false => continue,
                }
            }
            if self.is_comment(&line.text, shape) {
                self.notes.comments += 1;
                record.comments.push(line.text);
                continue;
            }
            match self.row(&line, shape) {
                Err(fault) => {
                    failed.get_or_insert(LineFault::new(line.number, fault));
                }
                Ok(row) => {
                    if let Some(fault) = out_of_sequence(&row, words.len(), &record) {
                        failed.get_or_insert(LineFault::new(line.number, fault));
                    }
                    if words.is_empty() {
                        record.line = line.number;
                        record.fields.extend(row.index.map(|index| (INDEX.to_owned(), index.into())));
                    }
                    record.word_lines.push(line.number);
                    words.push(row.word);
                    tags.extend(row.tag);
                    if self.to_tag {
                        record.columns.push(row.columns);
                    }
                }
            }
        }
        if let Some(fault) = failed {
            // Documents begin where they begin, whatever is wrong with their first sentence.
            let documents = record.comments.into_iter().filter(|comment| is_document_start(comment));
            self.pending.splice(0..0, documents);
            return Some(Err(fault));
        }
        if words.is_empty() {
            return None;
        }
        record.fields.shift_remove(INDEX);
        if self.tagged() && !self.to_tag {
            record.gold = Gold::Tags(tags);
        }
        record.words = Some(words);
        Some(Ok(record))
    }

    /// A column that counts among more than three columns: which one is the tag does not follow. The word is the next column.
    fn unclear(&self, shape: &Shape) -> Option<LineFault> {
        if self.to_tag {
            return None;
        }
        let (columns, line) = shape.width.filter(|(columns, _)| shape.index && *columns != 3)?;
        let mut roles = vec!["\"index\"", "\"word\"", "\"tag\""];
        roles.resize(columns.max(3), "\"_\"");
        roles.truncate(columns);
        let hint = format!("[{}]", roles.join(", "));
        Some(LineFault::new(line, Fault::IndexColumn { columns, hint }))
    }

    fn tagged(&self) -> bool {
        !matches!(&self.kind, Kind::Named(columns) if !columns.tagged())
    }

    /// Whether a line that begins with `#` is no word: it has other columns than words have, or no tag.
    fn is_comment(&self, text: &str, shape: &Shape) -> bool {
        if !text.starts_with('#') || matches!(self.kind, Kind::BioColumns) {
            return false;
        }
        let columns = split(text);
        if columns.len() == 1 && shape.width.is_some_and(|(width, _)| width == 1) {
            return text.trim() != "#";
        }
        let tag = match &self.kind {
            Kind::Named(named) => match named.place(Role::Tag, columns.len()) {
                None => return true,
                Some(None) => return columns.len() > 1,
                Some(Some(place)) => columns[place],
            },
            _ => columns.last().copied().unwrap_or_default(),
        };
        let fits = columns.len() > 1 && shape.width.is_none_or(|(width, _)| width == columns.len());
        !fits || !(looks_like_tag(tag) || shape.tags.contains(tag))
    }

    fn row(&self, line: &Line, shape: &mut Shape) -> Result<Row, Fault> {
        let columns = split(&line.text);
        let got = columns.len();
        let owned = |place: usize| columns[place].to_owned();
        let kept = match self.to_tag {
            true => columns.iter().map(|column| (*column).to_owned()).collect(),
            false => Vec::new(),
        };
        match &self.kind {
            Kind::BioColumns => match line.text.split('\t').collect::<Vec<_>>()[..] {
                [tag, word] => {
                    let [tag, word] = [tag, word].map(|column| column.trim_matches(' ').to_owned());
                    // Word first, as other columns are written and read.
                    let kept = if self.to_tag { vec![word.clone(), tag.clone()] } else { Vec::new() };
                    Ok(Row { word, tag: Some(tag), index: None, columns: kept })
                }
                _ => {
                    let got = line.text.split('\t').count();
                    Err(Fault::Columns { layout: "bio-columns", want: "2 (tag, word)", got })
                }
            },
            Kind::Named(named) => {
                let place = |role| {
                    named.place(role, got).ok_or_else(|| Fault::Roles { got, columns: named.to_string() })
                };
                let word = place(Role::Word)?.map(owned).unwrap_or_default();
                let (tag, index) = (place(Role::Tag)?.map(owned), place(Role::Index)?.map(owned));
                Ok(Row { word, tag, index, columns: kept })
            }
            Kind::Conll => {
                let (want, first) = *shape.width.get_or_insert((got, line.number));
                if got < 2 && !self.to_tag {
                    return Err(Fault::Columns { layout: "conll", want: "2 or more", got });
                }
                if got != want {
                    return Err(Fault::Width { got, first, want });
                }
                shape.tags.insert(columns[got - 1].to_owned());
                let (word, index) = if shape.index { (1, Some(owned(0))) } else { (0, None) };
                Ok(Row { word: owned(word), tag: Some(owned(got - 1)), index, columns: kept })
            }
        }
    }
}

/// Where the index of the first word is kept while a sentence is read.
const INDEX: &str = "index";

/// The fault of a word whose index does not follow the one before.
fn out_of_sequence(row: &Row, words: usize, record: &Record) -> Option<Fault> {
    let got = row.index.as_ref()?;
    let first = record.fields.get(INDEX).and_then(|index| index.as_str()?.parse::<usize>().ok());
    let want = if words == 0 { usize::from(got != "0") } else { first? + words };
    (got.parse::<usize>().ok() != Some(want)).then(|| Fault::Index { got: got.clone(), want })
}

impl Reader for ColumnReader<'_> {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        if self.ended {
            return None;
        }
        let mut shape = match self.shape.take() {
            Some(shape) => shape,
            None => self.look_ahead(),
        };
        let record = self.sentence(&mut shape);
        self.shape = Some(shape);
        record
    }

    fn notes(&self) -> Notes {
        self.notes
    }
}

/// The columns of a line, blanks around them cut off. Tabs at the end of a line are padding too.
fn split(line: &str) -> Vec<&str> {
    let line = line.trim_end_matches(['\t', ' ']);
    match line.contains('\t') {
        true => line.split('\t').map(|column| column.trim_matches(' ')).collect(),
        false => line.split_ascii_whitespace().collect(),
    }
}

fn is_document_start(line: &str) -> bool {
    line.starts_with("-DOCSTART-")
}

/// Whether a column holds a tag of some scheme other than IO.
fn looks_like_tag(column: &str) -> bool {
    let mut chars = column.chars();
    let first = chars.next();
    let rest = chars.as_str();
    Bio::parse(column).is_some()
        || first.is_some_and(|c| "BIESLUM".contains(c))
            && (rest.is_empty() || (rest.len() > 1 && rest.starts_with('-')))
}
