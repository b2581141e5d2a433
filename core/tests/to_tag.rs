//! Records that are read to be tagged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hyperloader_core::corpus::{Fields, Gold, Layout, OffsetUnit, Offsets, ReadOptions, Record, Records};
use serde_json::json;

fn read(layout: Layout, content: &str, options: ReadOptions) -> Vec<Result<Record, String>> {
    let options = ReadOptions { to_tag: true, ..options };
    let records = Records::new(content.as_bytes(), layout, &options);
    records.map(|record| record.map_err(|fault| fault.to_string())).collect()
}

fn one(layout: Layout, content: &str) -> Record {
    let mut records = read(layout, content, ReadOptions::default());
    assert_eq!(records.len(), 1, "{records:?}");
    records.pop().unwrap().unwrap()
}

#[test]
fn annotation_is_not_read_and_stays_a_field() {
    let record =
        one(Layout::Jsonl, r#"{"text": "a", "label": [[5, 99, "X"]], "ner_tags": [7], "entities": 1}"#);
    assert_eq!((record.text.as_deref(), &record.gold), (Some("a"), &Gold::None));
    assert_eq!(json!(record.fields), json!({"label": [[5, 99, "X"]], "ner_tags": [7], "entities": 1}));
    let record = one(Layout::Jsonl, r#"{"tokens": ["a", "b"], "ner_tags": [9]}"#);
    assert_eq!(record.words, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(json!(record.fields), json!({"tokens": ["a", "b"], "ner_tags": [9]}));
    let record = one(Layout::Jsonl, r#"{"id": 1, "data": {"text": "a", "by": 2}, "annotations": 3}"#);
    assert_eq!(record.text.as_deref(), Some("a"));
    assert_eq!(json!(record.fields), json!({"id": 1, "data": {"text": "a", "by": 2}, "annotations": 3}));
    // A rejected annotation is none of the text.
    assert_eq!(one(Layout::Jsonl, r#"{"text": "a", "answer": "reject"}"#).left_out, None);
}

#[test]
fn words_belong_to_a_text_only_if_they_are_words() {
    assert_eq!(one(Layout::Jsonl, r#"{"text": "a b", "words": 2}"#).words, None);
    assert_eq!(one(Layout::Jsonl, r#"{"text": "a b", "words": [1, 2]}"#).words, None);
    let tokens = r#"{"text": "a b", "tokens": [{"start": 0, "end": 1}, {"start": 2, "end": 3}]}"#;
    assert_eq!(one(Layout::Jsonl, tokens).offsets, Some(vec![(0, 1), (2, 3)]));
    let options = ReadOptions {
        fields: Fields { tokens: Some("ws".into()), ..Fields::default() },
        ..ReadOptions::default()
    };
    let records = read(Layout::Jsonl, "{\"ws\": \"a b\"}\n{\"tokens\": []}", options);
    assert_eq!(records[0].as_ref().unwrap().words.as_ref().unwrap().len(), 2);
    assert!(records[1].as_ref().unwrap_err().contains("this one has the keys `tokens`"));
}

#[test]
fn columns_comments_and_documents_are_kept() {
    let records = read(
        Layout::Conll,
        "-DOCSTART- -X- O\n\n# one\na x O\n\n-DOCSTART- -X- O\nb y\n\nc z O\n",
        ReadOptions::default(),
    );
    let first = records[0].as_ref().unwrap();
    assert_eq!(first.comments, ["-DOCSTART- -X- O", "# one"]);
    assert_eq!((&first.columns, &first.gold), (&vec![vec!["a".into(), "x".into(), "O".into()]], &Gold::None));
    assert!(records[1].is_err());
    // The document begins, though its first sentence is bad.
    assert_eq!(records[2].as_ref().unwrap().comments, ["-DOCSTART- -X- O"]);
}

#[test]
fn a_column_that_counts_is_not_the_word() {
    let record = one(Layout::Conll, "1\ta\tx\tO\n2\tb\ty\tO\n");
    assert_eq!(record.words, Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn words_need_no_tags() {
    let records = read(Layout::Conll, "# id\na\n#\n\nb\n", ReadOptions::default());
    let words = |at: usize| records[at].as_ref().unwrap().words.clone().unwrap();
    assert_eq!((words(0), words(1)), (vec!["a".to_owned(), "#".into()], vec!["b".to_owned()]));
    assert!(Records::new(&b"a\n"[..], Layout::Conll, &ReadOptions::default()).all(|record| record.is_err()));
}

#[test]
fn tables_have_the_separator_and_the_case_that_they_have() {
    let record = one(Layout::Csv, "ID,Text\n7,\"a, b\"\n");
    assert_eq!((record.text.as_deref(), json!(record.fields)), (Some("a, b"), json!({"ID": "7"})));
    let options = ReadOptions { separator: Some(b'|'), ..ReadOptions::default() };
    let records = read(Layout::Csv, "text|tags\na, b|[x]\n", options);
    let record = records[0].as_ref().unwrap();
    assert_eq!((record.text.as_deref(), json!(record.fields)), (Some("a, b"), json!({"tags": "[x]"})));
    let record = one(Layout::Csv, "sentence,word,pos\n1,a,X\n1,b,Y\n");
    assert_eq!(record.columns, [["1", "a", "X"], ["1", "b", "Y"]]);
}

#[test]
fn offsets_count_their_unit() {
    let text = "a\u{e9}\u{1F600}b";
    for (unit, expected) in [
        (OffsetUnit::Chars, [0, 1, 2, 3, 4]),
        (OffsetUnit::Bytes, [0, 1, 3, 7, 8]),
        (OffsetUnit::Utf16, [0, 1, 2, 4, 5]),
    ] {
        let offsets = Offsets::new(text, unit);
        assert_eq!([0, 1, 2, 3, 4].map(|at| offsets.of_character(at)), expected);
        assert_eq!(offsets.of_character(99), expected[4]);
    }
}
