//! `hl-run --gold` as a program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::{Command, Output};

use common::lexicon_tagger;
use serde_json::Value;

/// Gold of texts with spans; `ne` is inside a word, and the tagger has no label `food`.
const GOLD: &str = concat!(
    "{\"text\": \"call Caf\u{e9}, paris\", \"spans\": [[5, 9, \"place\"], [11, 16, \"place\"]]}\n",
    "{\"text\": \"new paris <b>\", \"spans\": [[0, 2, \"place\"], [4, 9, \"food\"]]}\n",
    "{\"text\": \"  \", \"spans\": []}\n",
    "{\"text\": \"skip call paris\", \"spans\": [[10, 15, \"place\"]]}\n",
);

fn run(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
    command.current_dir(folder.path()).env("NO_COLOR", "1").args(["--backend", "tract", "--model"]);
    command.arg(lexicon_tagger()).args(args).output().unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gold.jsonl"), GOLD).unwrap();
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace(lexicon_tagger().to_str().unwrap(), "lexicon.onnx")
}

#[test]
fn the_report_has_scores_errors_and_worst_sentences() {
    let folder = folder();
    let output = run(&folder, &["--gold", "gold.jsonl", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let filters = vec![(r"\d+\.\d+ s: \d+\.\d+", "[TIME] s: [SPEED]"), (r"[ ]+\n", "\n")];
    insta::with_settings!({filters => filters}, {
        insta::assert_snapshot!("report", text(&output.stdout));
        insta::assert_snapshot!("report_stderr", text(&output.stderr));
    });
}

#[test]
fn json_and_pages_have_the_same_scores_and_pages_escape_text() {
    let folder = folder();
    let output = run(&folder, &["--gold", "gold.jsonl", "--output-format", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let evaluation = &json["evaluation"];
    assert_eq!(evaluation["sentences"], 3);
    assert_eq!(evaluation["scores"]["counts"]["gold"], 5);
    assert_eq!(evaluation["unknown_labels"], serde_json::json!(["food"]));
    assert_eq!(json["read"]["left_out"]["empty"], 1, "{}", json["read"]);
    assert!(evaluation["exact"]["f1"].as_f64() < evaluation["scores"]["micro"]["f1"].as_f64());
    let output = run(&folder, &["--gold", "gold.jsonl", "--output", "page.html"]);
    assert!(output.status.success() && output.stdout.is_empty());
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    let f1 = format!("{:.4}", evaluation["scores"]["micro"]["f1"].as_f64().unwrap());
    assert!(page.contains(&f1) && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("&lt;") && !page.contains("<script"), "{page}");
}

#[test]
fn another_file_is_compared_and_bad_gold_is_named() {
    let folder = folder();
    let output = run(&folder, &["--gold", "gold.jsonl", "--compare", lexicon_tagger().to_str().unwrap()]);
    let report = text(&output.stdout);
    assert!(report.contains("(+0.0000), p = 1.000"), "{report}");
    assert!(report.contains("0 of 3 sentences are tagged differently"), "{report}");
    let errors = [
        run(&folder, &["--gold", "absent.jsonl"]),
        run(&folder, &["--gold", "gold.jsonl", "--output-format", "conll"]),
        run(&folder, &["--compare", "other.onnx", "set"]),
        run(&folder, &["--gold", "gold.jsonl", "--max-error", "0.1"]),
    ];
    let text: Vec<String> =
        errors.iter().map(|output| format!("{:?}\n{}", output.status.code(), text(&output.stderr))).collect();
    insta::assert_snapshot!("errors", text.join("\n"));
}
