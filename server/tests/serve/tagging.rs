//! What `/tag` answers.

use std::io::{BufRead, BufReader, Write};

use hyperloader_runtime::{
    Answer, BackendKind, BackendOptions, OffsetUnit, SentenceError, Split, Tagged, Tagger, TaggerOptions,
};
use serde_json::{Value, json};

use crate::common::lexicon_tagger;
use crate::running::{Running, rest};

/// Texts of all kinds: short, blank, long ones in parts, outside ASCII, with control characters.
pub(crate) fn texts() -> Vec<String> {
    let words =
        ["set", "an", "alarm", "for", "7", "am", "paris", "caf\u{e9}", "\u{1F600}", "skip", "new", "."];
    let sentence = |seed: usize| {
        let chosen = (0..seed % 23).map(|at| words[(seed * 7 + at * at + at) % words.len()]);
        chosen.collect::<Vec<_>>().join(if seed.is_multiple_of(4) { "  " } else { " " })
    };
    let odd = ["", "  \t", "a\u{0}b", "\u{202e}paris", "forever", "\"7\" <am>\n\u{7}"].map(str::to_owned);
    (0..120).map(sentence).chain(odd).collect()
}

/// The lines of `hl-run --output-format jsonl` for texts.
pub(crate) fn expected(texts: &[String], unit: OffsetUnit, scores: bool) -> Vec<Value> {
    let backend = BackendOptions { kind: BackendKind::Tract, ..BackendOptions::default() };
    let options = TaggerOptions { backend, scores, ..TaggerOptions::default() };
    let tagger = Tagger::open(lexicon_tagger(), &options).unwrap();
    let tagged = tagger.tag(texts).unwrap().into_iter().zip(texts).map(|(result, text)| match result {
        Err(SentenceError::NoWord) => Tagged::without_words(text.as_str()),
        other => other.unwrap(),
    });
    let line = |tagged: Tagged| {
        let mut line = json!({"text": tagged.text});
        let answer = serde_json::to_value(Answer::new(&tagged, unit)).unwrap();
        line.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        line
    };
    tagged.map(line).collect()
}

/// An object without the warnings, which `hl-run` prints to stderr.
fn without_warnings(mut object: Value) -> Value {
    object.as_object_mut().unwrap().shift_remove("warnings");
    object
}

/// Whether two values are the same, but for the last digits of scores: sums depend on which texts share a batch.
pub(crate) fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-3
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.iter().all(|(name, value)| same(value, &b[name]))
        }
        (a, b) => a == b,
    }
}

/// Checks that all values are the same as [`same`] says.
pub(crate) fn assert_same(found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(same(found, expected), "found    {found}\nexpected {expected}");
    }
}

#[test]
fn objects_are_the_lines_of_hl_run_in_every_unit_with_and_without_scores() {
    let server = Running::start(&[]);
    let texts = texts();
    for (unit, name) in
        [(OffsetUnit::Chars, "chars"), (OffsetUnit::Bytes, "bytes"), (OffsetUnit::Utf16, "utf16")]
    {
        for scores in [true, false] {
            let request = json!({"texts": texts, "offsets": name, "scores": scores, "model": "lexicon"});
            let answer = server.post("/tag", request.to_string());
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
            let answer = answer.json();
            assert_eq!(answer["model"], "lexicon");
            let found: Vec<Value> = answer["results"].as_array().unwrap().clone();
            let found: Vec<Value> = found.into_iter().map(without_warnings).collect();
            assert_same(&found, &expected(&texts, unit, scores));
        }
    }
    let answer = server.post("/tag?offsets=bytes&scores=false", json!({ "texts": texts }).to_string());
    let found = answer.json()["results"].as_array().unwrap().clone();
    let found: Vec<Value> = found.into_iter().map(without_warnings).collect();
    assert_same(&found, &expected(&texts, OffsetUnit::Bytes, false));
    let plain = server.tag(&["set an alarm for 7 am"]);
    assert_eq!(plain[0]["spans"][0]["text"], "7 am");
    assert!(plain[0]["score"].is_f64(), "scores are there by default");
}

#[test]
fn what_may_be_missing_is_a_warning_in_the_object() {
    let server = Running::start(&[]);
    let objects = server.tag(&["forever", "paris"]);
    let warning = objects[0]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("the target reached its maximum length"), "{warning}");
    assert_eq!(objects[1].get("warnings"), None);
}

#[test]
fn a_text_that_cannot_be_tagged_is_an_object_with_its_error_and_others_are_answered() {
    let server = Running::start(&["--split", "never"]);
    let long = "paris ".repeat(12);
    let objects = server.tag(&["paris", &long, "7 am"]);
    assert_eq!(
        (&objects[0]["spans"][0]["label"], &objects[2]["spans"][0]["label"]),
        (&json!("place"), &json!("date_time"))
    );
    assert_eq!(objects[1]["text"], long);
    let error = &objects[1]["error"];
    assert!(error["message"].as_str().unwrap().starts_with("the sentence has 12 words"), "{error}");
    assert!(error["hint"].is_string() && error["place"] == "texts[1]", "{error}");
    assert_eq!(server.metric("hl_untagged_texts_total"), 1.0);
}

#[test]
fn texts_over_the_taggers_limits_are_tagged_in_parts_as_hl_run_does() {
    assert_eq!(TaggerOptions::default().split, Split::Long);
    let server = Running::start(&["--batch-size", "3", "--max-batch-tokens", "40"]);
    let texts = vec!["set an alarm for 7 am . ".repeat(40), "new paris ".repeat(70)];
    let answer = server.post("/tag", json!({ "texts": texts }).to_string()).json();
    assert_same(answer["results"].as_array().unwrap(), &expected(&texts, OffsetUnit::Chars, true));
}

#[test]
fn a_model_is_chosen_by_name_and_must_be_named_if_there_are_several() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one.onnx", "two.onnx"] {
        std::fs::copy(lexicon_tagger(), folder.path().join(name)).unwrap();
    }
    let server = Running::of_models(folder, &["."], &[]);
    let ask = |more: &str| server.post("/tag", format!("{{\"texts\": [\"paris\"]{more}}}"));
    assert_eq!(ask(", \"model\": \"two\"").json()["model"], "two");
    let unknown = ask(", \"model\": \"three\"");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["message"], "no model is named `three`");
    assert_eq!(unknown.json()["error"]["hint"], "the models are `one`, `two`");
    assert_eq!(ask("").status, 422);
    let names: Vec<Value> = server.get("/models").json()["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["name"].clone())
        .collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn lines_are_answered_by_lines_in_their_order() {
    let server = Running::start(&["--max-queue", "100", "--max-texts", "100"]);
    let texts = texts();
    let lines: Vec<&String> = texts.iter().cycle().take(3000).collect();
    let body: String = lines.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = server.post_with("/tag?offsets=utf16&scores=false", &ndjson, body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let found: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = expected(&texts, OffsetUnit::Utf16, false);
    assert_eq!(found.len(), lines.len());
    for (at, object) in found.into_iter().enumerate() {
        assert_eq!(without_warnings(object), expected[at % expected.len()], "line {at}");
    }
}

#[test]
fn a_line_that_is_no_text_is_an_error_at_its_place() {
    let server = Running::start(&[]);
    let body =
        b"\"paris\"\n\n{\"text\": \"7\", \"id\": 1}\n{\"txt\": \"7\"}\n\"\xff\"\n[1]\r\n{\"text\": \"am\"}";
    let answer = server.post_with("/tag", &[("content-type", "application/x-ndjson; charset=utf-8")], body);
    let found: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<&Value> = found.iter().map(|object| &object["error"]["place"]).collect();
    assert_eq!(
        places,
        [&json!(null), &json!(null), &json!("line 4"), &json!("line 5"), &json!("line 6"), &json!(null)]
    );
    assert_eq!(
        (&found[0]["text"], &found[1]["text"], &found[5]["text"]),
        (&json!("paris"), &json!("7"), &json!("am"))
    );
}

#[test]
fn a_client_that_writes_a_line_and_waits_gets_its_answer() {
    let server = Running::start(&[]);
    let head = "POST /tag HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let stream = server.connect(head.as_bytes());
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = stream;
    for word in ["paris", "7", "caf\u{e9}"] {
        let line = format!("\"{word}\"\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
        let answer = lines
            .find_map(|line| serde_json::from_str::<Value>(&line.unwrap()).ok().filter(Value::is_object));
        assert_eq!(answer.unwrap()["text"], word);
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
}

#[test]
fn objects_of_a_json_request_are_lines_if_the_client_accepts_them() {
    let server = Running::start(&["--max-queue", "100"]);
    let texts: Vec<String> = texts().into_iter().take(90).collect();
    let request = json!({ "texts": texts }).to_string();
    let answer = server.post_with("/tag", &[("accept", "application/x-ndjson")], request);
    let found: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<Value> = found.into_iter().map(without_warnings).collect();
    assert_same(&found, &expected(&texts, OffsetUnit::Chars, true));
}

#[test]
fn without_scores_objects_have_none_and_asking_for_them_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lexicon.onnx"), crate::common::with_drafter(1.0)).unwrap();
    let draft = Running::of_models(folder, &["lexicon.onnx"], &["--decode", "draft"]);
    for server in [draft, Running::start(&["--no-scores"])] {
        let objects = server.tag(&["paris"]);
        assert_eq!((objects[0].get("score"), objects[0]["spans"][0].get("score")), (None, None));
        let asked = server.post("/tag", r#"{"texts": ["paris"], "scores": true}"#);
        assert_eq!(
            (asked.status, &asked.json()["error"]["message"]),
            (422, &json!("the server computes no scores"))
        );
        assert_eq!(server.get("/models").json()["models"][0]["scores"], false);
    }
}

#[test]
fn requests_that_make_no_sense_are_refused_with_a_reason() {
    let server = Running::start(&[]);
    let refused = |status: u16, answer: &crate::running::Answered| {
        assert_eq!(answer.status, status, "{}", answer.text());
        let error = answer.json()["error"].clone();
        assert!(error["message"].is_string() && error["kind"].is_string(), "{error}");
    };
    for body in [
        "",
        "{",
        "[]",
        r#"{"texts": "a"}"#,
        r#"{"texts": ["a"], "offset": "bytes"}"#,
        r#"{"texts": ["a"], "offsets": "lines"}"#,
    ] {
        refused(400, &server.post("/tag", body));
    }
    refused(400, &server.post("/tag", b"{\"texts\": [\"\xff\xfe\"]}"));
    refused(400, &server.post("/tag", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))));
    refused(400, &server.post_with("/tag?modle=a", &[("content-type", "application/x-ndjson")], "\"a\"\n"));
    for query in ["offsets=bytes&typo=1", "offsets=lines", "offsets=bytes"] {
        refused(400, &server.post(&format!("/tag?{query}"), r#"{"texts": ["a"], "offsets": "chars"}"#));
    }
    refused(404, &server.post("/tag?model=none", r#"{"texts": ["a"]}"#));
    refused(415, &server.post_with("/tag", &[("content-encoding", "gzip")], "{}"));
    let wrong = server.get("/tag");
    refused(405, &wrong);
    assert_eq!(wrong.header("allow"), Some("POST"));
    refused(405, &server.post("/models", ""));
    refused(404, &server.get("/nothing"));
    assert_eq!(server.tag(&[]), Vec::<Value>::new());
    assert_eq!(server.post("/tag", "\u{feff}{\"texts\": [\"paris\"]}").status, 200);
    let blank =
        server.post_with("/tag", &[("content-type", "application/x-ndjson")], "\n".repeat(1 << 20) + "7");
    assert_eq!(blank.json()["error"]["place"], format!("line {}", (1 << 20) + 1));
    for garbage in ["\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}"] {
        drop(rest(server.connect(garbage.as_bytes())));
    }
    assert_eq!(server.tag(&["paris"]).len(), 1);
}
