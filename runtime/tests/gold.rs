//! `hl-run --gold` as a program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{lexicon_bytes, lexicon_tagger, metadata};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_onnx::decode_model;
use prost::Message;
use serde_json::Value;

/// Gold of texts with spans; `ne` is inside a word, and the tagger has no label `food`.
const GOLD: &str = concat!(
    "{\"text\": \"call Caf\u{e9}, paris\", \"spans\": [[5, 9, \"place\"], [11, 16, \"place\"]]}\n",
    "{\"text\": \"new paris <b>\", \"spans\": [[0, 2, \"place\"], [4, 9, \"food\"]]}\n",
    "{\"text\": \"  \", \"spans\": []}\n",
    "{\"text\": \"skip call paris\", \"spans\": [[10, 15, \"place\"]]}\n",
);

fn run(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    run_with(folder, lexicon_tagger(), args)
}

fn run_with(folder: &tempfile::TempDir, model: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
    command.current_dir(folder.path()).env("NO_COLOR", "1").args(["--backend", "tract", "--model"]);
    command.arg(model).args(args).output().unwrap()
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

#[test]
fn what_the_second_model_cannot_tag_is_an_error_too() {
    let folder = folder();
    let short = lexicon_bytes(&TaggerMetadata { max_source_len: 6, ..metadata() });
    fs::write(folder.path().join("short.onnx"), short).unwrap();
    let args = ["--gold", "gold.jsonl", "--compare", "short.onnx", "--no-split", "--quiet"];
    let output = run(&folder, &args);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    for line in [1, 2, 4] {
        let place = format!("error: gold.jsonl:{line}: `short.onnx`: the sentence takes ");
        assert!(log.contains(&place), "{log}");
    }
    // What both models lack is reported once.
    assert_eq!(log.matches("has no label").count(), 1, "{log}");
    // Its report is there nevertheless.
    assert!(text(&output.stdout).contains("Compared with `short.onnx`"));
    let output =
        run_with(&folder, &folder.path().join("short.onnx"), &["--gold", "gold.jsonl", "--no-split"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error: gold.jsonl:1: the sentence takes "));
}

/// A tagger whose graph fails at words that its table lacks.
fn failing() -> Vec<u8> {
    let mut model = decode_model(lexicon_bytes(&metadata()).into(), Path::new("lexicon.onnx")).unwrap();
    let tables = &mut model.graph.as_mut().unwrap().initializer;
    let table = tables.iter_mut().find(|tensor| tensor.name == "tag_of").unwrap();
    let width = usize::try_from(table.dims[1]).unwrap();
    table.dims[0] = 4;
    table.raw_data = table.raw_data[..4 * width * 4].to_vec().into();
    model.encode_to_vec()
}

#[test]
fn a_backend_that_fails_is_our_fault_in_tagging_and_in_evaluating() {
    let folder = folder();
    let model = folder.path().join("failing.onnx");
    fs::write(&model, failing()).unwrap();
    let log = |output: &Output| text(&output.stderr);
    for args in [&["set"][..], &["--gold", "gold.jsonl"]] {
        let output = run_with(&folder, &model, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", log(&output));
        assert!(log(&output).contains("tract failed to run the graph"), "{}", log(&output));
    }
    let output = run(&folder, &["--gold", "gold.jsonl", "--compare", "failing.onnx"]);
    assert_eq!(output.status.code(), Some(2), "{}", log(&output));
    assert!(log(&output).contains("cannot evaluate `failing.onnx`"), "{}", log(&output));
}

#[test]
fn the_place_of_the_report_is_checked_before_the_model_is_opened() {
    let folder = folder();
    fs::create_dir(folder.path().join("folder")).unwrap();
    for (output, message) in [
        ("folder", "`folder` is a folder"),
        ("absent/a.json", "cannot write `absent/a.json`"),
        ("a.json.gz", "outputs are not compressed"),
        ("gold.jsonl", "the labeled file `gold.jsonl`"),
    ] {
        let args = ["--gold", "gold.jsonl", "--output", output, "--output-format", "json"];
        let output = run_with(&folder, Path::new("absent.onnx"), &args);
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(message), "{log}");
    }
}

#[test]
fn cells_of_gold_are_separated_as_asked_for() {
    let folder = folder();
    let rows = "text|spans\ncall, paris|[[6, 11, \"place\"]]\nset|[]\n";
    fs::write(folder.path().join("gold.csv"), rows).unwrap();
    let args = ["--gold", "gold.csv", "--delimiter", "|", "--output-format", "json"];
    let output = run(&folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["evaluation"]["scores"]["counts"]["gold"], 1);
    assert_eq!(json["evaluation"]["scores"]["counts"]["correct"], 1);
    assert_eq!(run(&folder, &["--gold", "gold.csv"]).status.code(), Some(1));
}
