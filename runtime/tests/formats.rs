//! Files that earlier versions wrote still open, and tag as they did then.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hyperloader_runtime::{BackendKind, BackendOptions, Mode, Tagger, TaggerOptions};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/format").join(name)
}

#[test]
fn a_file_of_format_2_tags_as_when_it_was_written() {
    let backend = BackendOptions { kind: BackendKind::Tract, ..Default::default() };
    // The model is random: only legal targets are tags.
    let options = TaggerOptions { backend, mode: Mode::Constrained, ..Default::default() };
    let tagger = Tagger::open(fixture("2/tagger.onnx"), &options).unwrap();
    let metadata = tagger.metadata();
    assert_eq!((metadata.format, metadata.task.as_str(), metadata.method.as_str()), (2, "mtop", "full"));
    assert_eq!(metadata.source_prefix, "mtop");
    let text = std::fs::read_to_string(fixture("2/expected.jsonl")).unwrap();
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = expected.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(expected.iter().any(|row| !row["spans"].as_array().unwrap().is_empty()));
    for (tagged, row) in tagger.tag(&texts).unwrap().into_iter().zip(&expected) {
        assert_eq!(serde_json::to_value(tagged.unwrap().spans).unwrap(), row["spans"], "{}", row["text"]);
    }
}
