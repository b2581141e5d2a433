//! Parquet: files that pyarrow wrote are read as corpora, damaged ones are errors, and written rows are read back.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};

use common::fixtures;
use hyperloader_core::corpus::{CorpusSpec, Gold, Layout, ReadOptions, Record, Records, Sentence};
use hyperloader_core::parquet::{Rows, SpanCell, TableWriter, TaggedRow};
use serde_json::{Value, json};

fn file(name: &str) -> PathBuf {
    fixtures().join("parquet").join(name)
}

/// The sentences of a file in which all splits are.
fn sentences(path: &Path, change: impl FnOnce(&mut CorpusSpec)) -> Vec<Sentence> {
    let mut spec =
        CorpusSpec { layout: None, ..CorpusSpec::new(Layout::Text, path, Some(path.to_owned()), path) };
    change(&mut spec);
    spec.load().unwrap().train
}

fn pairs(sentence: &Sentence) -> String {
    let pairs = sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| format!("{word}/{tag}"));
    pairs.collect::<Vec<_>>().join(" ")
}

#[test]
fn numbers_of_tags_have_the_names_that_the_file_gives_them() {
    let all = sentences(&file("tokens.parquet"), |_| ());
    assert_eq!(all.len(), 12);
    assert_eq!(pairs(&all[0]), "book/O a/O table/O for/O 0/B-people in/O Oslo/B-city");
    // In the third row group.
    assert_eq!(
        (pairs(&all[10]).as_str(), all[10].line),
        ("book/O a/O table/O for/O 10/B-people in/O S\u{e3}o/B-city Paulo/I-city", 11)
    );
    let names = ["O", "B-x", "I-x", "B-y"].map(str::to_owned);
    let other = sentences(&file("tokens.parquet"), |spec| spec.tag_names = names.to_vec());
    assert_eq!(pairs(&other[0]), "book/O a/O table/O for/O 0/B-y in/O Oslo/B-x");
}

#[test]
fn texts_with_spans_are_read_and_null_columns_are_absent() {
    let all = sentences(&file("spans.parquet"), |_| ());
    assert_eq!(all.len(), 8);
    assert_eq!(pairs(&all[2]), "a/O table/O for/O 2/B-people in/O New/B-city York/I-city ,/O please/O");
    assert_eq!(pairs(&all[7]), "nobody/O looked/O");
    let records = |to_tag| -> Vec<Record> {
        let options = ReadOptions { to_tag, ..ReadOptions::default() };
        Records::open(&file("spans.parquet"), Layout::Parquet, &options)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let labelled = records(false);
    assert!(matches!(&labelled[6].gold, Gold::Spans(spans) if spans.is_empty()));
    assert_eq!(labelled[7].gold, Gold::None);
    let to_tag = records(true);
    assert_eq!(to_tag[1].fields["meta"], json!({"source": "web", "score": 0.5}));
    let names = |record: &Record| record.fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&to_tag[2]), ["spans", "rank"]);
    assert_eq!(names(&to_tag[3]), ["spans", "meta"]);
}

#[test]
fn the_parts_of_a_data_set_are_read_as_one_corpus_and_streamed() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"] {
        std::fs::copy(file("tokens.parquet"), folder.path().join(part)).unwrap();
    }
    let spec = CorpusSpec::of_file(folder.path().join("train-*.parquet"));
    let streamed: Vec<Sentence> = spec.shards().unwrap().read().map(Result::unwrap).collect();
    let one = sentences(&file("tokens.parquet"), |_| ());
    assert_eq!(streamed, [one.clone(), one].concat());
    std::fs::write(folder.path().join("train-2.parquet"), "no table").unwrap();
    let error = spec.shards().unwrap_err().to_string();
    assert!(error.contains("train-2.parquet"), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let opened = Records::open(path, Layout::Parquet, &ReadOptions::default());
        let error = opened.err().unwrap();
        format!("{error}: {}", error.source)
    };
    let text = folder.path().join("text.parquet");
    std::fs::write(&text, "no table").unwrap();
    let error = open(&text);
    assert!(error.contains("text.parquet`: it is not a whole Parquet file"), "{error}");
    assert!(open(folder.path()).contains("read from regular files only"));
    assert!(open(&folder.path().join("none.parquet")).contains("none.parquet"));
    let mut stream = Records::new(&b"PAR1"[..], Layout::Parquet, &ReadOptions::default());
    let fault = stream.next().unwrap().unwrap_err().fault.to_string();
    assert!(fault.contains("cannot be read from a stream\nhint: name the file"), "{fault}");
    assert!(stream.next().is_none());
}

/// Reads all rows. Whatever is in the file, this ends.
fn read_all(path: &Path) -> usize {
    let Ok(rows) = Rows::open(path) else { return 0 };
    rows.take(1000).filter(Result::is_ok).count()
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    for name in ["tokens.parquet", "spans.parquet"] {
        let whole = std::fs::read(file(name)).unwrap();
        for length in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read_all(&path), 0, "{name}, {length} bytes");
        }
        for at in (0..whole.len()).step_by(5) {
            let mut bytes = whole.clone();
            bytes[at] ^= [0x01, 0x80, 0x40, 0xff][at % 4];
            std::fs::write(&path, bytes).unwrap();
            read_all(&path);
        }
    }
}

fn span(start: usize, text: &str, score: Option<f64>) -> SpanCell {
    let end = start + text.chars().count();
    SpanCell { start, end, label: "city".into(), text: text.into(), score, unknown: score.is_none() }
}

#[test]
fn written_rows_are_read_back_as_they_were() {
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    let rows = [
        TaggedRow {
            text: Some("fly to \u{141}\u{f3}d\u{17a}".into()),
            tokens: texts(&["fly", "to", "\u{141}\u{f3}d\u{17a}"]),
            tags: texts(&["O", "O", "B-city"]),
            spans: Some(vec![span(7, "\u{141}\u{f3}d\u{17a}", Some(0.5)), span(0, "fly", None)]),
            score: Some(0.25),
            fields: Some("{\"id\":7}".into()),
            ..TaggedRow::default()
        },
        TaggedRow { error: Some("it is bad".into()), ..TaggedRow::default() },
        TaggedRow {
            text: Some(String::new()),
            tokens: Some(vec![]),
            tags: Some(vec![]),
            spans: Some(vec![]),
            abstained: true,
            withheld: 3,
            ..TaggedRow::default()
        },
    ];
    let expected = [
        json!({
            "text": "fly to \u{141}\u{f3}d\u{17a}", "tokens": ["fly", "to", "\u{141}\u{f3}d\u{17a}"], "tags": ["O", "O", "B-city"],
            "spans": [
                {"start": 7, "end": 11, "label": "city", "text": "\u{141}\u{f3}d\u{17a}", "score": 0.5, "unknown": false},
                {"start": 0, "end": 3, "label": "city", "text": "fly", "unknown": true},
            ],
            "score": 0.25, "abstained": false, "withheld": 0, "fields": "{\"id\":7}",
        }),
        json!({"error": "it is bad", "abstained": false, "withheld": 0}),
        json!({"text": "", "tokens": [], "tags": [], "spans": [], "abstained": true, "withheld": 3}),
    ];
    // More than a row group.
    let count = 70_000;
    let mut writer = TableWriter::new(tempfile::NamedTempFile::new().unwrap(), "tests version 1").unwrap();
    for at in 0..count {
        writer.add(rows[at % rows.len()].clone()).unwrap();
    }
    let written = writer.finish().unwrap();
    let mut read = 0;
    for row in Rows::open(written.path()).unwrap() {
        assert_eq!(row.unwrap(), expected[read % rows.len()]);
        read += 1;
    }
    assert_eq!(read, count);

    let empty = TableWriter::new(tempfile::NamedTempFile::new().unwrap(), "tests version 1").unwrap();
    let mut empty = empty.finish().unwrap();
    assert_eq!(Rows::open(empty.path()).unwrap().count(), 0);
    let mut magic = [0; 4];
    std::io::Seek::rewind(&mut empty).unwrap();
    empty.read_exact(&mut magic).unwrap();
    assert_eq!(&magic, b"PAR1");
}

#[test]
fn rows_come_in_the_order_of_the_file() {
    let ids = Rows::open(&file("tokens.parquet")).unwrap().map(|row| row.unwrap()["id"].clone());
    assert_eq!(ids.collect::<Vec<Value>>(), (0..12).map(|id| json!(id.to_string())).collect::<Vec<_>>());
}
