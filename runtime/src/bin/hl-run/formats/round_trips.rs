//! What is written in one format and read again is the same, over the corpora and over odd texts.
//!
//! `HYPERLOADER_ROUND_TRIPS=DIR` takes the corpora of another folder than `fixtures/corpora`.

use std::path::PathBuf;

use hyperloader_core::corpus::known::in_folder;
use hyperloader_core::corpus::{CharSpan, Gold, Layout, OffsetUnit, ReadOptions, Record, Records, Sentence};
use hyperloader_core::text::spans::{Span, SpanMode, bio_to_spans, spans_to_bio};
use hyperloader_core::text::words::is_whitespace;
use hyperloader_runtime::{Tagged, TaggedSpan, Word};
use proptest::prelude::*;

use super::conll::Conll;
use super::examples::{entry, written};
use super::json::Json;
use super::tsv::Tsv;
use crate::entry::Entry;

/// A tagged text from words and where they are in it.
fn tagged(text: String, places: &[(usize, usize)], tags: Vec<String>) -> Tagged {
    let chars: Vec<char> = text.chars().collect();
    let cut = |start: usize, end: usize| chars[start..end].iter().collect::<String>();
    let words: Vec<Word> = places
        .iter()
        .map(|(start, end)| Word { text: cut(*start, *end), start: *start, end: *end })
        .collect();
    let span = |span: Span| {
        let (start, end) = (words[span.start].start, words[span.end - 1].end);
        TaggedSpan { start, end, label: span.label, text: cut(start, end), score: None, unknown: false }
    };
    let spans = bio_to_spans(&tags, SpanMode::Default).into_iter().map(span).collect();
    Tagged { text, words, tags, spans, complete: true, ..Tagged::default() }
}

/// Words with a blank between them.
fn joined(words: &[String], tags: Vec<String>) -> Tagged {
    let mut at = 0;
    let mut place = |word: &String| {
        let start = at;
        at = start + word.chars().count() + 1;
        (start, at - 1)
    };
    let places: Vec<(usize, usize)> = words.iter().map(&mut place).collect();
    tagged(words.join(" "), &places, tags)
}

fn of_words(number: usize, tagged: Tagged) -> Entry {
    Entry { has_words: true, ..entry(number, Ok(tagged)) }
}

fn one_task() -> Vec<String> {
    vec!["one".to_owned()]
}

fn lines(offsets: OffsetUnit) -> Json {
    Json { offsets, tasks: one_task(), array: false, first: true }
}

/// What the only model found.
fn found_in(entry: &Entry) -> &Tagged {
    &entry.result.as_ref().unwrap()[0]
}

/// Formats that hold words and tags.
#[derive(Debug, Clone, Copy)]
enum Words {
    Conll,
    Jsonl,
    Json,
}

impl Words {
    const ALL: [Self; 3] = [Self::Conll, Self::Jsonl, Self::Json];

    fn write(self, entries: &[Entry]) -> String {
        let json = |array| Json { array, ..lines(OffsetUnit::Chars) };
        match self {
            Self::Conll => written(Conll { tasks: one_task() }, entries),
            Self::Jsonl => written(json(false), entries),
            Self::Json => written(json(true), entries),
        }
    }

    fn read(self, text: &str) -> Vec<Entry> {
        let layout = if matches!(self, Self::Conll) { Layout::Conll } else { Layout::Jsonl };
        let records = Records::new(text.as_bytes(), layout, &ReadOptions::default());
        let entry = |(number, record): (usize, Result<Record, _>)| {
            let record = record.unwrap_or_else(|fault| panic!("{fault}\n{text}"));
            let Gold::Tags(tags) = record.gold else { panic!("no tags in {text}") };
            of_words(number, joined(&record.words.unwrap(), tags))
        };
        (1..).zip(records).map(entry).collect()
    }
}

/// The spans of each record of JSON Lines whose offsets are in `unit`.
fn spans(lines: &str, unit: OffsetUnit) -> Vec<Vec<CharSpan>> {
    let options = ReadOptions { offsets: unit, ..ReadOptions::default() };
    let spans = |record: Result<Record, _>| match record.unwrap_or_else(|fault| panic!("{fault}")).gold {
        Gold::Spans(spans) => spans,
        other => panic!("{other:?} instead of spans"),
    };
    Records::new(lines.as_bytes(), Layout::Jsonl, &options).map(spans).collect()
}

fn expected(entries: &[Entry]) -> Vec<Vec<CharSpan>> {
    let spans = |entry: &Entry| {
        let span =
            |span: &TaggedSpan| CharSpan { start: span.start, end: span.end, label: span.label.clone() };
        found_in(entry).spans.iter().map(span).collect()
    };
    entries.iter().map(spans).collect()
}

/// The rows of our table.
fn rows(table: &str) -> Vec<Vec<String>> {
    let cell = |cell: &str| {
        let mut out = String::new();
        let mut chars = cell.chars();
        while let Some(c) = chars.next() {
            out.push(match (c, c == '\\') {
                (_, true) => match chars.next().unwrap() {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                },
                (c, _) => c,
            });
        }
        out
    };
    table.lines().skip(1).map(|row| row.split('\t').map(cell).collect()).collect()
}

#[test]
fn corpora_survive_conll_and_json_and_offsets_in_all_units() {
    let fixtures = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/corpora"));
    let folder = std::env::var_os("HYPERLOADER_ROUND_TRIPS").map_or_else(fixtures, PathBuf::from);
    let (mut sentences, mut spans_compared) = (0, 0);
    for (name, spec) in in_folder(&folder).unwrap() {
        let splits = spec.load().unwrap();
        let all: Vec<Sentence> = [splits.train, splits.valid, splits.test].concat();
        let words: Vec<Entry> =
            (1..).zip(&all).map(|(number, s)| of_words(number, joined(&s.words, s.tags.clone()))).collect();
        let first = Words::Conll.write(&words);
        let second = Words::Conll.write(&Words::Jsonl.read(&Words::Jsonl.write(&Words::Conll.read(&first))));
        assert!(first == second, "{name}: CoNLL differs");
        let tags = Words::Conll.read(&second);
        assert!(tags.iter().zip(&all).all(|(entry, s)| found_in(entry).tags == s.tags));

        let text = |(number, s): (usize, &Sentence)| {
            let tagged = match (&s.text, &s.offsets) {
                (Some(text), Some(places)) => tagged(text.clone(), places, s.tags.clone()),
                _ => joined(&s.words, s.tags.clone()),
            };
            entry(number, Ok(tagged))
        };
        let texts: Vec<Entry> = (1..).zip(&all).map(text).collect();
        for unit in OffsetUnit::ALL {
            let lines = written(lines(unit), &texts);
            assert!(spans(&lines, unit) == expected(&texts), "{name}: spans differ in {unit:?}");
        }
        sentences += all.len();
        spans_compared += expected(&texts).iter().map(Vec::len).sum::<usize>();
    }
    println!("{sentences} sentences, {spans_compared} spans in three units");
    assert!(sentences > 100 && spans_compared > 100);
}

/// All words and tags of the corpora, written as a table of columns and read again.
#[cfg(feature = "parquet")]
#[test]
fn corpora_survive_parquet() {
    use hyperloader_core::files::AtomicFile;

    use super::parquet::Table;

    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("corpus.parquet");
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/corpora"));
    let mut sentences = 0;
    for (name, spec) in in_folder(&folder).unwrap() {
        let splits = spec.load().unwrap();
        let all: Vec<Sentence> = [splits.train, splits.valid, splits.test].concat();
        let words: Vec<Entry> =
            (1..).zip(&all).map(|(number, s)| of_words(number, joined(&s.words, s.tags.clone()))).collect();
        let first = Words::Conll.write(&words);
        let mut table = Table::new(AtomicFile::create(&path).unwrap(), &path, OffsetUnit::Chars).unwrap();
        Words::Conll.read(&first).iter().for_each(|entry| table.record(entry).unwrap());
        table.finish().unwrap();
        let records = Records::open(&path, Layout::Parquet, &ReadOptions::default()).unwrap();
        let entry = |(number, record): (usize, Result<Record, _>)| {
            let record = record.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let Gold::Tags(tags) = record.gold else { panic!("{name}: no tags") };
            of_words(number, joined(&record.words.unwrap(), tags))
        };
        let second: Vec<Entry> = (1..).zip(records).map(entry).collect();
        assert!(Words::Conll.write(&second) == first, "{name}: CoNLL differs");
        sentences += all.len();
    }
    assert!(sentences > 100);
}

/// Words of all kinds of characters, but for white space, the byte order mark, and what begins a document.
fn word() -> impl Strategy<Value = String> {
    let any = proptest::collection::vec(any::<char>(), 1..6).prop_map(String::from_iter);
    let odd = prop_oneof![
        Just("#".to_owned()),
        Just("# id".replace(' ', "")),
        Just("\u{1F600}".to_owned()),
        Just("e\u{301}".to_owned()),
        Just("\u{5e9}\u{5dc}".to_owned()),
        Just("\"\\t\\".to_owned()),
        Just("<extra_id_3>".to_owned()),
        Just("1".to_owned()),
        Just("\u{0}".to_owned()),
    ];
    prop_oneof![any, odd].prop_filter("a word", |word| {
        !word.is_empty()
            && !word.chars().any(|c| is_whitespace(c) || c == '\u{feff}')
            && !word.starts_with("-DOCSTART-")
    })
}

fn sentence() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    proptest::collection::vec(word(), 1..8).prop_flat_map(|words| {
        let marks = proptest::collection::vec(0_usize..5, words.len());
        (Just(words), marks).prop_map(|(words, marks)| {
            // 0 and 1 are outside, 2 and 3 begin a span, 4 goes on.
            let mut spans: Vec<Span> = vec![];
            for (at, mark) in marks.into_iter().enumerate() {
                match (mark, spans.last_mut()) {
                    (4, Some(last)) if last.end == at => last.end += 1,
                    (2..=4, _) => {
                        spans.push(Span { start: at, end: at + 1, label: format!("l{}", mark % 2) })
                    }
                    _ => {}
                }
            }
            let tags = spans_to_bio(&spans, words.len()).unwrap();
            (words, tags)
        })
    })
}

proptest! {
    #[test]
    fn all_pairs_of_formats_keep_words_and_tags(sentences in proptest::collection::vec(sentence(), 1..5)) {
        let entries: Vec<Entry> = (1..)
            .zip(&sentences)
            .map(|(number, (words, tags))| of_words(number, joined(words, tags.clone())))
            .collect();
        for first in Words::ALL {
            let once = first.read(&first.write(&entries));
            for second in Words::ALL {
                let twice = second.read(&second.write(&once));
                prop_assert_eq!(twice.len(), sentences.len());
                for (entry, (words, tags)) in twice.iter().zip(&sentences) {
                    let tagged = found_in(entry);
                    prop_assert_eq!(tagged.surfaces(), words.iter().collect::<Vec<_>>());
                    prop_assert_eq!(&tagged.tags, tags);
                }
            }
        }
    }

    #[test]
    fn spans_of_any_text_are_the_same_in_all_formats_and_units(
        parts in proptest::collection::vec((word(), "[ \t\r\n]{1,3}", 0_usize..3), 1..8),
    ) {
        let (mut text, mut places, mut tags, mut at) = (String::new(), vec![], vec![], 0);
        for (word, gap, mark) in &parts {
            text.push_str(word);
            text.push_str(gap);
            places.push((at, at + word.chars().count()));
            at += word.chars().count() + gap.len();
            tags.push(["O", "B-a", "B-b"][*mark].to_owned());
        }
        let entries = [entry(1, Ok(tagged(text.clone(), &places, tags)))];
        for unit in OffsetUnit::ALL {
            let lines = written(lines(unit), &entries);
            prop_assert_eq!(spans(&lines, unit), expected(&entries));
            let table = rows(&written(Tsv { offsets: unit, tasks: one_task() }, &entries));
            let found: serde_json::Value = serde_json::from_str(&lines).unwrap();
            for (row, span) in table.iter().zip(found["spans"].as_array().unwrap()) {
                prop_assert_eq!(&row[1], &span["start"].to_string());
                prop_assert_eq!(&row[2], &span["end"].to_string());
                prop_assert_eq!(Some(row[4].as_str()), span["text"].as_str());
            }
            prop_assert_eq!(table.len(), found["spans"].as_array().unwrap().len());
        }
    }
}
