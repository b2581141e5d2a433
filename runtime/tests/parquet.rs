//! `hl-run` on Parquet: the same spans as on JSON Lines, and a file that is complete or absent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::lexicon_tagger;
use hyperloader_core::parquet::Rows;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/parquet").join(name)
}

fn hl_run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
    command.current_dir(folder).env("NO_COLOR", "1").arg("--model").arg(lexicon_tagger());
    command.args(["--threads", "1", "--quiet", "--backend", "tract"]).args(args).output().unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn rows_are_tagged_as_lines_of_json_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["spans.parquet", "tokens.parquet"] {
        let input = fixture(name);
        let input = input.to_str().unwrap();
        let output = hl_run(folder.path(), &["--input", input, "--output", "tagged.parquet"]);
        assert!(output.status.success() && output.stdout.is_empty(), "{}", log(&output));
        let output = hl_run(folder.path(), &["--input", input, "--output-format", "jsonl"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let rows: Vec<Value> =
            Rows::open(&folder.path().join("tagged.parquet")).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), lines.len());
        assert!(rows.len() >= 8);
        for (row, line) in rows.iter().zip(&lines) {
            assert_eq!(row["text"], line["text"]);
            let spans = |value: &Value| {
                let spans = value["spans"].as_array().unwrap().iter();
                let spans =
                    spans.map(|s| [&s["start"], &s["end"], &s["label"], &s["text"]].map(Value::clone));
                spans.collect::<Vec<_>>()
            };
            assert_eq!(spans(row), spans(line));
            assert_eq!(row["tokens"].as_array().unwrap().len(), row["tags"].as_array().unwrap().len());
            let fields: Value =
                row["fields"].as_str().map_or(Value::Null, |f| serde_json::from_str(f).unwrap());
            assert_eq!((&fields["id"], &fields["rank"]), (&line["id"], &line["rank"]));
        }
    }
}

#[test]
fn an_output_is_read_as_an_input_and_as_gold() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "set paris\n\nset 7 am new\n").unwrap();
    for (from, to) in [("a.txt", "a.parquet"), ("a.parquet", "b.parquet")] {
        let output = hl_run(folder.path(), &["--input", from, "--output", to]);
        assert!(output.status.success(), "{}", log(&output));
    }
    let rows = |name: &str| -> Vec<Value> {
        Rows::open(&folder.path().join(name)).unwrap().map(Result::unwrap).collect()
    };
    let (first, second) = (rows("a.parquet"), rows("b.parquet"));
    assert_eq!((first.len(), second.len()), (3, 3));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!((&first["spans"], &first["tags"]), (&second["spans"], &second["tags"]));
    }
    // A sentence without words is no gold, as in JSON Lines.
    std::fs::write(folder.path().join("c.txt"), "set paris\nset 7 am new\n").unwrap();
    let output = hl_run(folder.path(), &["--input", "c.txt", "--output", "c.parquet"]);
    assert!(output.status.success(), "{}", log(&output));
    let output = hl_run(folder.path(), &["--gold", "c.parquet", "--output-format", "json"]);
    assert!(output.status.success(), "{}", log(&output));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["read"]["layout"], "parquet");
}

#[test]
fn places_without_a_whole_file_are_refused_before_anything_is_tagged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "set\n").unwrap();
    std::fs::write(folder.path().join("bad.parquet"), "PAR1 and no more").unwrap();
    for (args, message) in [
        ("--input a.txt --output-format parquet", "`parquet` is written to a file\nhint: name it"),
        ("--input a.txt --output b.parquet --resume", "`parquet` cannot be continued"),
        ("--input - --input-format parquet", "Parquet cannot be read from stdin\nhint: name the file"),
        ("--input-format parquet", "Parquet cannot be read from stdin\nhint: name the file"),
        ("--input bad.parquet --output b.parquet", "cannot read `bad.parquet`"),
    ] {
        let output = hl_run(folder.path(), &args.split(' ').collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(1), "{args}: {}", log(&output));
        assert!(log(&output).contains(message), "{args}: {}", log(&output));
        assert!(!folder.path().join("b.parquet").exists(), "{args}");
    }
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 2, "temporary files are left");
}
