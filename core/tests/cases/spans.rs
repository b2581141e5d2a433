//! Texts with spans, as annotation tools export them.

use hyperloader_core::corpus::{CorpusSpec, LeftOut, OffsetUnit, Overlap, SpanAlignment};
use hyperloader_core::text::words::{WordRule, WordSplitting};

use crate::{ROSA, case, of_case, of_text, outcome, plain, spec};

#[test]
fn annotation_exports_are_read_as_text_with_spans() {
    assert_eq!(of_case("01-doccano-triples/a.jsonl", None), format!("{ROSA}\nnothing/O here/O"));
    assert_eq!(of_case("02-doccano-offset-names/a.jsonl", None), "Meet/O Rosa/B-PER in/O Lima/O");
    assert_eq!(of_case("03-prodigy-token-objects/a.jsonl", None), ROSA);
    assert_eq!(
        of_case("04-prodigy-no-spans-key/a.jsonl", None),
        "Meet/O Rosa/B-PER\nnothing/O here/O\n--\n1 texts without a field of spans, read as texts without spans"
    );
    let spans = r#"[{"start": 5, "end": 9, "label": "PER"}, {"start": 13, "end": 17, "label": "LOC"}]"#;
    let triples = r#"[[13, 17, "LOC"], [5, 9, "PER"]]"#;
    for (name, content) in [
        ("a.jsonl", format!(r#"{{"text": "Meet Rosa in Lima", "labels": {triples}}}"#)),
        ("a.jsonl", format!(r#"{{"data": "Meet Rosa in Lima", "label": {triples}, "spans": []}}"#)),
        (
            "a.jsonl",
            format!(
                r#"{{"text": "Meet Rosa in Lima", "ents": {spans}, "tokens": ["Meet", "Rosa", "in", "Lima"]}}"#
            ),
        ),
        ("a.jsonl", format!(r#"["Meet Rosa in Lima", {{"entities": {triples}}}]"#)),
        ("a.json", format!(r#"[["Meet Rosa in Lima", {{"entities": {triples}}}]]"#)),
        ("a.json", format!("[\n {{\n  \"text\": \"Meet Rosa in Lima\",\n  \"spans\": {spans}\n }}\n]\n")),
        ("a.json", format!("\u{feff}{{\n\"text\": \"Meet Rosa in Lima\",\r\n\"entities\": {triples}}}")),
        (
            "a.ndjson",
            format!("{{\"text\": \"Meet Rosa in Lima\", \"label\": {triples}, \"Comments\": []}}\r\n\r\n"),
        ),
    ] {
        assert_eq!(plain(name, &content), ROSA, "{content}");
    }
}

#[test]
fn label_studio_exports_are_read_and_skipped_tasks_left_out() {
    let result = r#"{"value": {"start": 5, "end": 9, "text": "Rosa", "labels": ["PER"]}, "from_name": "label", "to_name": "text", "type": "labels"}"#;
    let relation = r#"{"type": "relation", "from_id": "a", "to_id": "b"}"#;
    let task = |annotations: &str| {
        format!(r#"{{"id": 1, "annotations": {annotations}, "data": {{"text": "Meet Rosa"}}}}"#)
    };
    let good = task(&format!(
        r#"[{{"was_cancelled": true, "result": []}}, {{"result": [{relation}, {result}]}}, {{"result": []}}]"#
    ));
    let (skipped, open) = (task(r#"[{"was_cancelled": true, "result": []}]"#), task("[]"));
    let corpus = |content: &str| plain("export.json", content);
    assert_eq!(
        corpus(&format!("[{good},{skipped},\n{open}]")),
        "Meet/O Rosa/B-PER\n--\n1 of 3 records left out: ignored by the annotator\n1 of 3 records left out: not annotated\n\
         1 further annotations of the same texts not read"
    );
    let minimal = r#"[{"text": "Meet Rosa", "label": [{"start": 5, "end": 9, "text": "Rosa", "labels": ["PER"]}], "annotator": 1}]"#;
    assert_eq!(corpus(minimal), "Meet/O Rosa/B-PER");
    let two = minimal.replace(r#"["PER"]"#, r#"["PER", "ORG"]"#);
    assert!(corpus(&two).starts_with("`export.json`, line 1: span {"), "{}", corpus(&two));
}

#[test]
fn rows_that_annotators_rejected_are_left_out_and_counted() {
    assert_eq!(
        of_case("05-prodigy-rejected/a.jsonl", None),
        "Meet/O Rosa/B-PER\n--\n1 of 3 records left out: rejected by the annotator\n1 of 3 records left out: ignored by the annotator"
    );
    let report = spec(&case("05-prodigy-rejected/a.jsonl"), None).read().unwrap().files[0].report.clone();
    assert_eq!((report.records, report.left_out[&LeftOut::Rejected]), (3, 1));
    let rejected = "{\"text\": \"a\", \"spans\": [], \"answer\": \"reject\"}\n";
    assert_eq!(plain("a.jsonl", rejected), "`a.jsonl` holds no sentence: 1 rejected by the annotator");
}

#[test]
fn spans_with_a_text_are_compared_with_their_offsets() {
    let utf16 = "\nhint: the offsets fit as UTF-16 units: set `offsets = \"utf16\"`";
    assert_eq!(
        of_case("06-utf16-offsets/a.jsonl", None),
        format!(
            "`a.jsonl`, line 1: span 7:10 (`PER`) says that its text is `Ana`, but there the text has `na `{utf16}"
        )
    );
    // The text of this span fits by chance.
    assert_eq!(
        of_case("06-utf16-offsets/b.jsonl", None),
        format!("`b.jsonl`, line 1: span 9:10 (`ART`) cuts a word{utf16}")
    );
    let read = CorpusSpec { offsets: OffsetUnit::Utf16, ..spec(&case("06-utf16-offsets/a.jsonl"), None) };
    assert_eq!(outcome(&read), "\u{1f600}/O met/O Ana/B-PER B/O here/O");
    let bytes =
        r#"{"text": "Zoë met Ana", "spans": [{"start": 9, "end": 12, "label": "PER", "text": "Ana"}]}"#;
    assert!(plain("a.jsonl", bytes).ends_with("\nhint: the offsets fit as bytes: set `offsets = \"bytes\"`"));
    assert_eq!(of_text("a.jsonl", bytes, |spec| spec.offsets = OffsetUnit::Bytes), "Zoë/O met/O Ana/B-PER");
    let none = bytes.replace("12", "11");
    assert!(
        plain("a.jsonl", none)
            .ends_with("\nhint: offsets may count `chars`, `bytes` or `utf16`; here none fits all spans")
    );
}

#[test]
fn text_with_spans_is_cut_at_punctuation_and_what_misses_word_edges_is_counted() {
    let file = "08-span-narrower-than-word/a.jsonl";
    assert_eq!(
        of_case(file, None),
        "Rosa/B-PER ,/O meet/O me/O in/O Lima/B-LOC ./O\n(/O Lima/B-LOC )/O is/O big/O"
    );
    let blanks = WordSplitting { rule: WordRule::Whitespace, lowercase: false };
    let widened = CorpusSpec { words: Some(blanks), ..spec(&case(file), None) };
    assert!(
        outcome(&widened)
            .ends_with("--\n3 of 3 spans begin or end inside a word and were widened to whole words")
    );
    let refused = CorpusSpec { span_alignment: SpanAlignment::Error, ..widened };
    assert!(
        outcome(&refused)
            .starts_with("`a.jsonl`, line 1: span 0:4 (`PER`) does not begin and end at word edges\nhint: ")
    );
    let money = r#"{"text": "pay $450 or €75.", "spans": [[4, 8, "SUM"], [13, 15, "NUMBER"]]}"#;
    assert_eq!(plain("a.jsonl", money), "pay/O $/B-SUM 450/I-SUM or/O €/O 75/B-NUMBER ./O");
}

#[test]
fn overlapping_spans_are_refused_or_settled() {
    let row = r#"{"text": "New York City Hall", "spans": [[9, 18, "ORG"], [0, 13, "LOC"], [0, 13, "LOC"]]}"#;
    assert!(
        plain("a.jsonl", row)
            .starts_with("`a.jsonl`, line 1: `LOC` and `ORG` overlap at character 9\nhint: ")
    );
    let settled = of_text("a.jsonl", row, |spec| spec.overlap = Overlap::First);
    assert_eq!(
        settled,
        "New/B-LOC York/I-LOC City/I-LOC Hall/O\n--\n1 spans left out because they overlap with others\n1 copies of spans left out"
    );
}
