//! Conventions that all error messages in the snapshots follow.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hyperloader_tests::root;

/// All snapshots of programs' output.
fn snapshots() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["tests/tests/snapshots", "exporter/tests/snapshots", "runtime/tests/snapshots"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        found.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some()));
    }
    found
}

/// The errors in a text: the message, then its causes, then its hints, each with its heading.
fn errors(text: &str) -> Vec<Vec<&str>> {
    let mut errors: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("error: ") {
            errors.push(vec![line]);
        } else if let Some(error) = errors.last_mut().filter(|_| is_part(line)) {
            error.push(line);
        }
    }
    errors
}

fn is_part(line: &str) -> bool {
    line.starts_with("  caused by: ") || line.starts_with("hint: ")
}

fn check(path: &Path, error: &[&str]) {
    let all = error.join("\n");
    let mut above = error[0].to_owned();
    for part in &error[1..] {
        if let Some(cause) = part.strip_prefix("  caused by: ") {
            assert!(!above.contains(cause), "{}: a message repeats its cause:\n{all}", path.display());
            assert!(!above.contains("hint: "), "{}: a cause comes after a hint:\n{all}", path.display());
        }
        above += part;
    }
}

#[test]
fn no_message_repeats_its_cause_and_hints_come_last() {
    let mut count = 0;
    for path in snapshots() {
        let text = std::fs::read_to_string(&path).unwrap();
        for error in errors(&text) {
            check(&path, &error);
            count += 1;
        }
    }
    assert!(count > 100, "{count} errors found");
}
