//! Records that are read to be tagged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hyperloader_core::corpus::{
    Columns, Fields, Gold, Layout, OffsetUnit, Offsets, ReadOptions, Record, Records,
};
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

#[test]
fn numbers_that_no_64_bits_hold_are_kept_as_they_are_written() {
    let numbers =
        r#"{"text": "a", "n": [12345678901234567890123, {"x": 0.1234567890123456789}], "m": 1e400, "k": 7}"#;
    let record = one(Layout::Jsonl, numbers);
    let exact: Vec<(&str, &str)> =
        record.exact.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
    assert_eq!(exact, [("m", "1e400"), ("n", r#"[12345678901234567890123,{"x":0.1234567890123456789}]"#)]);
    assert_eq!(
        (&record.fields["k"], record.fields.keys().map(String::as_str).collect::<Vec<_>>()),
        (&json!(7), vec!["n", "m", "k"])
    );
    // Training does not pass fields on, and such a number is no label.
    let options = ReadOptions::default();
    let mut records = Records::new(numbers.as_bytes(), Layout::Jsonl, &options);
    assert!(records.next().unwrap().is_err());
}

#[test]
fn a_token_has_the_text_that_it_says_it_has() {
    let tokens = |own: &str, end: usize| {
        let tokens =
            json!([{"text": "caf\u{e9}", "start": 0, "end": 4}, {"text": own, "start": 5, "end": end}]);
        json!({"text": "caf\u{e9} b", "tokens": tokens}).to_string()
    };
    assert_eq!(one(Layout::Jsonl, &tokens("b", 6)).words.unwrap(), ["caf\u{e9}", "b"]);
    let fault = |line: &str| read(Layout::Jsonl, line, ReadOptions::default()).remove(0).unwrap_err();
    assert_eq!(
        fault(&tokens("c", 6)),
        "line 1: token 5:6 says that its text is `c`, but there the text has `b`"
    );
    // Offsets of another unit are named.
    let bytes = json!({"text": "caf\u{e9} b", "tokens": [{"text": "b", "start": 6, "end": 7}]}).to_string();
    assert!(fault(&bytes).contains("the offsets fit as bytes"), "{}", fault(&bytes));
    let bytes = json!({"text": "\u{e9} bb", "tokens": [{"text": "bb", "start": 3, "end": 5}]}).to_string();
    assert!(fault(&bytes).contains("the offsets fit as bytes"), "{}", fault(&bytes));
}

#[test]
fn slots_of_mtop_and_mtod_are_not_read_to_tag() {
    let tokens =
        r#"{"tokens": ["a", "b"], "tokenSpans": [{"start": 0, "length": 1}, {"start": 2, "length": 1}]}"#;
    let mtop = |slots: &str, tokens: &str| format!("id\tIN:X\t{slots}\ta b\tdomain\ten\t[IN:X ]\t{tokens}\n");
    let mtod = |slots: &str, tokens: &str| format!("intent\t{slots}\ta b\ten\t{tokens}\n");
    let tokenizations = format!("{{\"tokenizations\": [{tokens}]}}");
    let bad = ["", "0:99:SL:X", "0:3:SL:X,2:3:SL:Y", "1:2:SL:X", "nonsense"];
    for slots in bad {
        for record in
            [one(Layout::Mtop, &mtop(slots, tokens)), one(Layout::Mtod, &mtod(slots, &tokenizations))]
        {
            assert_eq!((record.text.as_deref(), &record.gold), (Some("a b"), &Gold::None), "{slots}");
            assert_eq!(record.words.unwrap(), ["a", "b"]);
            assert_eq!(record.offsets.unwrap(), [(0, 1), (2, 3)]);
        }
    }
    // A row without tokens has its text, and tokens that cannot be read are a fault.
    for record in [one(Layout::Mtop, &mtop("", "")), one(Layout::Mtod, &mtod("", ""))] {
        assert_eq!((record.text.as_deref(), record.words, record.offsets), (Some("a b"), None, None));
    }
    let options = ReadOptions::default;
    assert!(
        read(Layout::Mtop, &mtop("", "{}"), options())
            .remove(0)
            .unwrap_err()
            .contains("not the JSON of layout `mtop`")
    );
    assert!(
        read(Layout::Mtod, &mtod("", "{}"), options())
            .remove(0)
            .unwrap_err()
            .contains("not the JSON of layout `mtod`")
    );
}

#[test]
fn columns_of_tag_and_word_become_word_and_tag() {
    let record = one(Layout::BioColumns, "O\tset\nB-x\tnew  york \n\n");
    assert_eq!(record.columns, [["set", "O"], ["new  york", "B-x"]]);
}

#[test]
fn two_columns_of_one_name_are_a_fault_that_names_it() {
    let fault =
        |content: &str, options: ReadOptions| read(Layout::Csv, content, options).remove(0).unwrap_err();
    let plain = ReadOptions::default;
    assert_eq!(
        fault("id,text,text\n1,a,b\n", plain()),
        "line 1: the columns 2 and 3 of the table are both called `text`\nhint: rename one of them"
    );
    assert!(fault("id,Text,text\n1,a,b\n", plain()).contains("2 and 3"));
    assert!(fault("word,pos,Word\na,b,c\n", plain()).contains("`Word`"));
    assert!(fault("id,text,id\n1,a,b\n", plain()).contains("`id`"));
    // Fields differ by case, and columns that are named by their place need no name.
    assert_eq!(json!(one(Layout::Csv, "id,ID,text\n1,2,a\n").fields), json!({"id": "1", "ID": "2"}));
    let options = ReadOptions { columns: Some(Columns::parse("word,_").unwrap()), ..plain() };
    assert_eq!(read(Layout::Csv, "x,x\na,b\n", options)[0].as_ref().unwrap().words.as_ref().unwrap(), &["a"]);
    // Spreadsheets write columns without names.
    assert_eq!(json!(one(Layout::Csv, "text,,\na,,2\n").fields), json!({"": "2"}));
    assert!(fault("text,,\na,1,2\n", plain()).contains("columns 2 and 3 have content and no name"));
}
