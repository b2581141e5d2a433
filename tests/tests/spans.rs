//! Spans that the committed nano run finds in held-out sentences: one snapshot a task for both runtimes.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_core::corpus::Split;
use hyperloader_tests::{Workplace, fixture, root};
use hyperloader_trainer::config::Config;
use serde_json::Value;

const SENTENCES: usize = 25;

#[test]
fn both_runtimes_find_the_same_spans_as_ever() {
    let config = Config::from_file(&root().join("hyperloader.toml")).unwrap();
    let place = Workplace::new();
    for (task, spec) in &config.tasks {
        let mut export = place.program("hl-export");
        export.args(["--task", task, "--no-verify", "--run"]).arg(fixture("runs/nano")).assert().success();
        let test = spec.load_split(Split::Test).unwrap();
        let sentences: Vec<String> = test.iter().take(SENTENCES).map(|s| s.words.join(" ")).collect();
        for backend in ["ort", "tract"] {
            let model = format!("{task}.onnx");
            let mut run = place.program("hl-run");
            run.args(["--model", &model, "--backend", backend, "--input-format", "words"]);
            run.args(["--output-format", "jsonl"]).write_stdin(sentences.join("\n"));
            let output = run.assert().success().get_output().stdout.clone();
            insta::assert_snapshot!(task.as_str(), spans(&output));
        }
    }
}

/// No snapshot: where processors differ in a last digit, bytes may be rounded otherwise.
#[test]
fn a_file_in_bytes_is_small_and_finds_nearly_the_same_spans_in_both_runtimes() {
    let place = Workplace::new();
    let sizes = ["f32", "int8"].map(|precision| {
        let mut export = place.program("hl-export");
        export.args(["--task", "mtod", "--precision", precision, "--output", precision, "--run"]);
        export.arg(fixture("runs/nano")).assert().success();
        std::fs::metadata(place.path(precision)).unwrap().len()
    });
    // Adapters and the tokenizer stay as they are; a T5-base's weigh next to nothing.
    assert!(3 * sizes[1] < sizes[0], "{sizes:?}");

    let config = Config::from_file(&root().join("hyperloader.toml")).unwrap();
    let test = config.tasks["mtod"].load_split(Split::Test).unwrap();
    let sentences: Vec<String> = test.iter().take(2 * SENTENCES).map(|s| s.words.join(" ")).collect();
    let found = |precision, backend| {
        let mut run = place.program("hl-run");
        run.args([
            "--model",
            precision,
            "--backend",
            backend,
            "--input-format",
            "words",
            "--output-format",
            "jsonl",
        ]);
        let output = run.write_stdin(sentences.join("\n")).assert().success().get_output().stdout.clone();
        let mut sentence = 0;
        let mut found = Vec::new();
        for line in spans(&output).lines() {
            match line.starts_with("  ") {
                true => found.push((sentence, line.to_owned())),
                false => sentence += 1,
            }
        }
        found
    };
    let exact = found("f32", "tract");
    assert!(exact.len() > sentences.len(), "{exact:?}");
    for backend in ["ort", "tract"] {
        let close = found("int8", backend);
        let kept = exact.iter().filter(|span| close.contains(span)).count();
        assert!(10 * kept >= 9 * exact.len(), "{backend}: {kept} of {}", exact.len());
    }
}

/// A sentence a line, with its spans indented below it.
fn spans(jsonl: &[u8]) -> String {
    let mut lines = Vec::new();
    for line in std::str::from_utf8(jsonl).unwrap().lines() {
        let tagged: Value = serde_json::from_str(line).unwrap();
        lines.push(tagged["text"].as_str().unwrap().to_owned());
        for span in tagged["spans"].as_array().unwrap() {
            let [start, end, label, text] = ["start", "end", "label", "text"].map(|field| &span[field]);
            lines.push(format!("  {start}..{end} {} {text}", label.as_str().unwrap()));
        }
    }
    lines.join("\n")
}
