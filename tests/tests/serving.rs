//! `hl-serve` with files that `hl-export` wrote: one task, a bundle, and all tasks in one graph.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hyperloader_tests::{Workplace, fixture};

/// The names and tasks of the models that `hl-serve --check` finds.
fn models(place: &Workplace, arguments: &[&str]) -> Vec<(String, String)> {
    let mut check = place.program("hl-serve");
    check.args(["--check", "--backend", "tract", "--quiet", "--output-format", "jsonl"]).args(arguments);
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let model = |line: &str| {
        let model: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| model[field].as_str().unwrap().to_owned();
        (text("name"), text("task"))
    };
    lines.lines().map(model).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, task)| ((*name).to_owned(), (*task).to_owned())).collect()
}

#[test]
fn a_bundle_and_a_file_of_all_tasks_are_a_model_for_each_task() {
    let place = Workplace::new();
    for target in [["--bundle", "bundle"], ["--multi", "multi.onnx"]] {
        let mut export = place.program("hl-export");
        export.arg("--run").arg(fixture("runs/nano")).args(target).args(["--no-verify", "--quiet"]);
        export.assert().success();
    }
    let tasks = pairs(&[("mtod", "mtod"), ("mtop", "mtop"), ("snips", "snips")]);
    assert_eq!(models(&place, &["bundle"]), tasks);
    assert_eq!(models(&place, &["multi.onnx"]), tasks);
    assert_eq!(
        models(&place, &["one=bundle/mtop.onnx", "bundle/snips.onnx"]),
        pairs(&[("one", "mtop"), ("snips", "snips")])
    );

    let mut named = place.program("hl-serve");
    let output = named.args(["--check", "--backend", "tract", "one=multi.onnx"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: `multi.onnx` has 3 models, and `one` can name one\n"), "{message}");

    // Data of a bundle that is damaged is found before anything is served.
    let weights = std::fs::read_dir(place.path("bundle")).unwrap().map(|entry| entry.unwrap().path());
    let weights = weights.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&weights).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x40;
    std::fs::write(&weights, bytes).unwrap();
    let output =
        place.program("hl-serve").args(["--check", "--backend", "tract", "bundle"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("is not as it was exported: weights: "), "{message}");
}
