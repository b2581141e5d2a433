//! Comparison of run folders.

use std::collections::BTreeMap;
use std::path::Path;

/// Files that do not contain times.
const WHOLE: [&str; 4] = ["manifest.json", "config.toml", "drafters.safetensors", "calibration.json"];

/// Content of every file of a run. What was logged counts without the wall-clock times; what a reader makes of the
/// log for people (report, plots, event files) does not count.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in [run.to_owned(), run.join("checkpoints")] {
        for entry in std::fs::read_dir(folder).expect("a complete run") {
            let path = entry.expect("a complete run").path();
            let name = path.strip_prefix(run).expect("a complete run").display().to_string();
            let content = || std::fs::read(&path).expect("a complete run");
            if name == "metrics.jsonl" || name == "outcome.json" {
                found.insert(name, without_times(&content()));
            } else if WHOLE.contains(&name.as_str()) || name.starts_with("checkpoints/") {
                found.insert(name, content());
            }
        }
    }
    found
}

fn without_times(metrics: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(metrics).expect("a complete run").lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a complete run");
        let fields = line.as_object_mut().expect("a complete run");
        // The folders of the two runs differ by intent.
        for name in ["seconds", "train_seconds", "run"] {
            fields.remove(name);
        }
        format!("{line}\n")
    });
    lines.collect::<String>().into_bytes()
}

/// Asserts that two runs have the same files with the same content.
///
/// # Panics
/// If they do not, or a file cannot be read.
pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (files(a), files(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, content) in &a {
        assert!(content == &b[name], "`{name}` differs");
    }
}
