//! Tables with a header (CSV, TSV): one word per row, or one text per row with its annotation in cells.
//!
//! A table of words has a column `word` or `token`, mostly one with the tag, and one that numbers the sentences (empty cells go on with
//! the sentence before); without it, blank lines end sentences. Otherwise each row is read as a JSON object of its cells: cells that
//! begin with `[` hold JSON arrays, other cells of `tokens` and `tags` are cut at blanks. Cells of CSV may be quoted; in TSV a quote
//! is a character like any other, unless it encloses the whole cell.

use serde_json::{Map, Value};

use super::error::{Fault, LineFault};
use super::options::{ReadOptions, Role};
use super::reader::Reader;
use super::record::{Gold, Record};
use super::row;
use super::source::{Line, MAX_LINE, Source};

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
    source: Source<'a>,
    separator: u8,
    header: Vec<String>,
    kind: Kind,
    /// A row that was read and begins the next sentence.
    next: Option<Row>,
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
        let mut table = Table { source, separator, header: Vec::new(), kind: Kind::Texts, next: None };
        let Some(header) = table.row() else { return Ok(None) };
        let Row { line, cells, .. } = header?;
        table.header = cells.into_iter().map(|cell| cell.trim().to_owned()).collect();
        check_names(&table.header, &self.options).map_err(|fault| LineFault::new(line, fault))?;
        table.kind = kind(&table.header, &self.options).map_err(|fault| LineFault::new(line, fault))?;
        // Names of columns are compared without case, those of fields are not.
        let text = |name: &&String| name.eq_ignore_ascii_case("text");
        if let (Kind::Texts, None) = (table.kind, &self.options.fields.text) {
            self.options.fields.text = table.header.iter().find(text).cloned();
        }
        Ok(Some(table))
    }
}

/// Checks that no two columns have one name, unless columns are named by their place. Names of which any case would do are compared
/// without it.
fn check_names(header: &[String], options: &ReadOptions) -> Result<(), Fault> {
    if options.columns.is_some() {
        return Ok(());
    }
    let of_any_case = |name: &str| {
        let tags: &[&str] = if options.to_tag { &[] } else { &TAG };
        let known = [&["text"][..], &WORD, &SENTENCE, tags];
        known.into_iter().flatten().any(|known| known.eq_ignore_ascii_case(name))
    };
    for (at, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let any_case = of_any_case(name);
        let same = |other: &String| other == name || (any_case && other.eq_ignore_ascii_case(name));
        if let Some(first) = header[..at].iter().position(same) {
            return Err(Fault::ColumnName { name: name.clone(), first: first + 1, second: at + 1 });
        }
    }
    Ok(())
}

/// The content of the rows.
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
    /// The next row that is not blank.
    fn row(&mut self) -> Option<Result<Row, LineFault>> {
        let mut gap = false;
        loop {
            let Line { number, mut text } = match self.source.line()? {
                Ok(line) => line,
                Err(fault) => return Some(Err(fault)),
            };
            if text.trim().is_empty() {
                gap = true;
                continue;
            }
            if self.separator == b'\t' {
                let cells = text.split('\t').map(enclosed).collect();
                return Some(Ok(Row { line: number, cells, gap }));
            }
            // A quoted cell may go on below.
            while open_quote(text.as_bytes(), self.separator) {
                match self.source.line() {
                    Some(Ok(line)) if text.len() + line.text.len() < MAX_LINE => {
                        text.push('\n');
                        text.push_str(&line.text);
                    }
                    Some(Err(fault)) => return Some(Err(fault)),
                    None | Some(Ok(_)) => {
                        let fault = Fault::Row("a quote is never closed".to_owned());
                        return Some(Err(LineFault::new(number, fault)));
                    }
                }
            }
            let mut record = csv::StringRecord::new();
            let mut reader = csv::ReaderBuilder::new()
                .delimiter(self.separator)
                .has_headers(false)
                .flexible(true)
                .buffer_capacity(text.len().min(1 << 13))
                .from_reader(text.as_bytes());
            return Some(match reader.read_record(&mut record) {
                Ok(_) => Ok(Row { line: number, cells: record.iter().map(str::to_owned).collect(), gap }),
                Err(error) => Err(LineFault::new(number, Fault::Row(error.to_string()))),
            });
        }
    }

    fn record(&mut self, options: &ReadOptions) -> Option<Result<Record, LineFault>> {
        match self.kind {
            Kind::Texts => {
                let row = match self.row()? {
                    Ok(row) => row,
                    Err(fault) => return Some(Err(fault)),
                };
                let line = row.line;
                let record = self
                    .object(row, options.to_tag)
                    .and_then(|fields| row::record(Value::Object(fields), options));
                Some(
                    record
                        .map(|record| Record { line, ..record })
                        .map_err(|fault| LineFault::new(line, fault)),
                )
            }
            Kind::Words { word, tag, sentence } => {
                let tag = tag.filter(|_| !options.to_tag);
                self.sentence(word, tag, sentence, options.to_tag)
            }
        }
    }

    /// A row as an object. A cell that looks like a list but is none is an error, unless `lenient`.
    fn object(&self, row: Row, lenient: bool) -> Result<Map<String, Value>, Fault> {
        if row.cells.len() > self.header.len() {
            let (got, want) = (row.cells.len(), self.header.len());
            return Err(Fault::Row(format!("{got} cells under {want} column names")));
        }
        let unnamed = self.header.iter().zip(&row.cells).enumerate().filter(|(_, (name, _))| name.is_empty());
        let filled: Vec<usize> =
            unnamed.filter(|(_, (_, cell))| !cell.trim().is_empty()).map(|(at, _)| at + 1).collect();
        if let [first, second, ..] = filled[..] {
            return Err(Fault::Row(format!("columns {first} and {second} have content and no name")));
        }
        // Of several columns without a name, the one with content counts.
        let first = filled.first().copied();
        let counts = |at: usize, name: &str| !name.is_empty() || first.is_none_or(|first| first == at + 1);
        let value = |(name, cell): (&String, String)| {
            // A text may begin with a bracket.
            let list = cell.starts_with('[') && !name.eq_ignore_ascii_case("text");
            let value = match serde_json::from_str::<Value>(&cell) {
                Ok(value @ Value::Array(_)) if list => value,
                _ if list && cell.ends_with(']') && !lenient => {
                    return Err(Fault::Row(format!(
                        "column `{name}` holds `{cell}`, which is no JSON array"
                    )));
                }
                _ => cell.into(),
            };
            Ok((name.clone(), value))
        };
        let cells = self.header.iter().zip(row.cells).enumerate().filter(|(at, (name, _))| counts(*at, name));
        cells.map(|(_, cell)| value(cell)).collect()
    }

    fn sentence(
        &mut self,
        word: usize,
        tag: Option<usize>,
        sentence: Option<usize>,
        to_tag: bool,
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
            if to_tag {
                record.columns.push(row.cells);
            }
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

/// A cell of TSV: quotes that enclose it are removed.
fn enclosed(cell: &str) -> String {
    match cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => cell.to_owned(),
    }
}

/// Whether a quoted cell is not closed at the end of `row`. A quote opens a cell only at its beginning.
fn open_quote(row: &[u8], separator: u8) -> bool {
    let (mut quoted, mut begins) = (false, true);
    let mut bytes = row.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&&b'"') => {
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' if begins => quoted = true,
            _ => {}
        }
        begins = !quoted && *byte == separator;
    }
    quoted
}
