//! Tables with a header (CSV, TSV): one word per row, or one text per row with its annotation in cells.
//!
//! A table of words has a column `word` or `token`, mostly one with the tag, and one that numbers the sentences (empty cells go on with
//! the sentence before); without it, blank lines end sentences. Otherwise each row is read as a JSON object of its cells: cells that
//! begin with `[` hold JSON arrays, other cells of `tokens` and `tags` are cut at blanks. Cells of CSV may be quoted; in TSV a quote
//! is a character like any other, unless it encloses the whole cell.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::error::{Fault, LineFault};
use super::options::{ReadOptions, Role};
use super::reader::Reader;
use super::record::{Gold, Record};
use super::row;
use super::source::{MAX_LINE, Source};

const WORD: [&str; 3] = ["word", "token", "form"];
const TAG: [&str; 8] = ["tag", "tags", "ner_tag", "ner_tags", "ner", "label", "labels", "bio"];
const SENTENCE: [&str; 7] =
    ["sentence #", "sentence", "sentence_id", "sentence_idx", "sent_id", "sentence_number", "sentence_num"];

/// Reads tables.
pub(super) struct TableReader<'a> {
    state: State<'a>,
    separator: u8,
    options: ReadOptions,
}

enum State<'a> {
    Fresh(Option<Source<'a>>),
    Open(Box<Table<'a>>),
    Ended,
}

struct Table<'a> {
    reader: csv::Reader<Limited<'a>>,
    left: Arc<AtomicUsize>,
    header: Vec<String>,
    kind: Kind,
    /// A row that was read and begins the next sentence.
    next: Option<Row>,
    /// Line after the last row.
    after: usize,
    quotes: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Words { word: usize, tag: Option<usize>, sentence: Option<usize> },
    Texts,
}

/// A row, and whether a blank line stands before it.
struct Row {
    line: usize,
    cells: Vec<String>,
    gap: bool,
}

impl<'a> TableReader<'a> {
    pub(super) fn new(source: Source<'a>, separator: u8, options: &ReadOptions) -> Self {
        Self { state: State::Fresh(Some(source)), separator, options: options.clone() }
    }

    /// Reads the header.
    fn open(&mut self, mut source: Source<'a>) -> Result<Option<Table<'a>>, LineFault> {
        let beginning = source.beginning()?;
        let first = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // Spreadsheets of many countries separate by semicolons.
        let separator = match self.separator {
            b',' if !first.contains(&b',') => {
                *first.iter().find(|byte| b";\t".contains(byte)).unwrap_or(&b',')
            }
            given => given,
        };
        let quotes = separator != b'\t';
        let left = Arc::new(AtomicUsize::new(MAX_LINE));
        let reader = Limited { reader: source.into_reader(), left: Arc::clone(&left) };
        let reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .quoting(quotes)
            .has_headers(false)
            .flexible(true)
            .from_reader(reader);
        let mut table =
            Table { reader, left, header: Vec::new(), kind: Kind::Texts, next: None, after: 1, quotes };
        let Some(header) = table.row() else { return Ok(None) };
        let Row { line, cells, .. } = header?;
        table.header = cells.into_iter().map(|cell| cell.trim().to_owned()).collect();
        table.kind = kind(&table.header, &self.options).map_err(|fault| LineFault::new(line, fault))?;
        Ok(Some(table))
    }
}

/// What the rows hold.
fn kind(header: &[String], options: &ReadOptions) -> Result<Kind, Fault> {
    if let Some(columns) = &options.columns {
        let got = header.len();
        let place =
            |role| columns.place(role, got).ok_or_else(|| Fault::Roles { got, columns: columns.to_string() });
        let word = place(Role::Word)?.unwrap_or_default();
        return Ok(Kind::Words { word, tag: place(Role::Tag)?, sentence: place(Role::Sentence)? });
    }
    let names = &options.fields;
    let find = |given: &Option<String>, usual: &[&str]| match given {
        Some(given) => header.iter().position(|name| name == given),
        None => {
            usual.iter().find_map(|usual| header.iter().position(|name| name.eq_ignore_ascii_case(usual)))
        }
    };
    let has = |names: &[&str]| find(&None, names).is_some();
    let sentence = find(&names.sentence, &SENTENCE);
    let word = find(&None, &WORD).or_else(|| find(&names.tokens, &[]).filter(|_| sentence.is_some()));
    match word {
        Some(word) if names.text.is_none() && !has(&["text"]) => {
            Ok(Kind::Words { word, tag: find(&names.tags, &TAG), sentence })
        }
        _ if find(&names.text, &["text", "data"]).is_some()
            || find(&names.tokens, &["tokens", "words"]).is_some() =>
        {
            Ok(Kind::Texts)
        }
        _ => {
            let found: Vec<String> = header.iter().map(|name| format!("`{name}`")).collect();
            Err(Fault::Header { found: found.join(", ") })
        }
    }
}

impl Table<'_> {
    fn row(&mut self) -> Option<Result<Row, LineFault>> {
        self.left.store(MAX_LINE, Ordering::Relaxed);
        let mut record = csv::ByteRecord::new();
        let read = self.reader.read_byte_record(&mut record);
        let line = record.position().map_or(self.after, |position| position.line() as usize);
        match read {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => {
                let fault = match error.into_kind() {
                    csv::ErrorKind::Io(error) => Fault::Read(error),
                    // Rows of any length are read as bytes: nothing else can be wrong.
                    other => Fault::Row(format!("{other:?}")),
                };
                return Some(Err(LineFault::new(line, fault)));
            }
        }
        let gap = line > self.after;
        let breaks = record.iter().map(|cell| cell.iter().filter(|byte| **byte == b'\n').count());
        self.after = line + breaks.sum::<usize>() + 1;
        let cells: Result<Vec<String>, LineFault> = record.iter().map(|cell| self.cell(line, cell)).collect();
        Some(cells.map(|cells| Row { line, cells, gap }))
    }

    fn cell(&self, line: usize, cell: &[u8]) -> Result<String, LineFault> {
        let text = std::str::from_utf8(cell).map_err(|error| {
            let at = error.valid_up_to();
            let position = self.reader.position().byte();
            LineFault::new(line, Fault::NotUtf8 { byte: cell[at], column: at + 1, position })
        })?;
        let enclosed = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Ok(match enclosed {
            Some(inner) if !self.quotes => inner.replace("\"\"", "\""),
            _ => text.to_owned(),
        })
    }

    fn record(&mut self, options: &ReadOptions) -> Option<Result<Record, LineFault>> {
        match self.kind {
            Kind::Texts => {
                let row = match self.row()? {
                    Ok(row) => row,
                    Err(fault) => return Some(Err(fault)),
                };
                let line = row.line;
                let record = self.object(row).and_then(|fields| row::record(Value::Object(fields), options));
                Some(
                    record
                        .map(|record| Record { line, ..record })
                        .map_err(|fault| LineFault::new(line, fault)),
                )
            }
            Kind::Words { word, tag, sentence } => self.sentence(word, tag, sentence),
        }
    }

    /// A row as an object.
    fn object(&self, row: Row) -> Result<Map<String, Value>, Fault> {
        if row.cells.len() > self.header.len() {
            let (got, want) = (row.cells.len(), self.header.len());
            return Err(Fault::Row(format!("{got} cells under {want} column names")));
        }
        let value = |(name, cell): (&String, String)| {
            // A text may begin with a bracket.
            let list = cell.starts_with('[') && !name.eq_ignore_ascii_case("text");
            let value = match serde_json::from_str::<Value>(&cell) {
                Ok(value @ Value::Array(_)) if list => value,
                _ if list && cell.ends_with(']') => {
                    return Err(Fault::Row(format!(
                        "column `{name}` holds `{cell}`, which is no JSON array"
                    )));
                }
                _ => cell.into(),
            };
            Ok((name.clone(), value))
        };
        self.header.iter().zip(row.cells).map(value).collect()
    }

    fn sentence(
        &mut self,
        word: usize,
        tag: Option<usize>,
        sentence: Option<usize>,
    ) -> Option<Result<Record, LineFault>> {
        let mut record = Record::default();
        let (mut words, mut tags) = (Vec::new(), Vec::new());
        let mut name = String::new();
        let mut failed = None;
        loop {
            let row = match self.next.take().map(Ok).or_else(|| self.row()) {
                None => break,
                Some(Ok(row)) => row,
                Some(Err(fault)) if matches!(fault.fault, Fault::Read(_)) => return Some(Err(fault)),
                Some(Err(fault)) => {
                    failed.get_or_insert(fault);
                    continue;
                }
            };
            let cell = |place: Option<usize>| Some(row.cells.get(place?)?.trim());
            let id = cell(sentence).unwrap_or_default();
            let begins = match sentence {
                Some(_) => !id.is_empty() && id != name,
                None => row.gap,
            };
            if begins && !words.is_empty() {
                self.next = Some(row);
                break;
            }
            if words.is_empty() {
                record.line = row.line;
                id.clone_into(&mut name);
            }
            let (Some(word), true) = (cell(Some(word)), tag.is_none() || cell(tag).is_some()) else {
                let (got, want) = (row.cells.len(), self.header.len());
                failed.get_or_insert(LineFault::new(
                    row.line,
                    Fault::Row(format!("{got} cells under {want} column names")),
                ));
                continue;
            };
            record.word_lines.push(row.line);
            words.push(word.to_owned());
            tags.extend(cell(tag).map(str::to_owned));
        }
        if let Some(fault) = failed {
            return Some(Err(fault));
        }
        if words.is_empty() {
            return None;
        }
        if let (Some(place), false) = (sentence, name.is_empty()) {
            record.fields.insert(self.header[place].clone(), name.into());
        }
        record.words = Some(words);
        record.gold = if tag.is_some() { Gold::Tags(tags) } else { Gold::None };
        Some(Ok(record))
    }
}

impl Reader for TableReader<'_> {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        if let State::Fresh(source) = &mut self.state {
            let source = source.take()?;
            self.state = match self.open(source) {
                Ok(Some(table)) => State::Open(Box::new(table)),
                Ok(None) => State::Ended,
                Err(fault) => {
                    self.state = State::Ended;
                    return Some(Err(fault));
                }
            };
        }
        let State::Open(table) = &mut self.state else { return None };
        let record = table.record(&self.options);
        if matches!(&record, Some(Err(LineFault { fault: Fault::Read(_), .. }))) {
            self.state = State::Ended;
        }
        record
    }
}

/// A reader that fails when one row takes more than its share, as after a quote that is never closed.
struct Limited<'a> {
    reader: Box<dyn BufRead + Send + 'a>,
    left: Arc<AtomicUsize>,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let left = self.left.load(Ordering::Relaxed);
        if count > left {
            let message = format!("a row is longer than {} MiB; a quote may not be closed", MAX_LINE >> 20);
            return Err(io::Error::other(message));
        }
        self.left.store(left - count, Ordering::Relaxed);
        Ok(count)
    }
}
