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
