//! Files that earlier versions wrote still open, and tag as they did then.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hyperloader_runtime::{BackendKind, BackendOptions, Mode, TaggedSpan, Tagger, TaggerOptions};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/format").join(name)
}

fn open(name: &str, mode: Mode) -> Tagger {
    let backend = BackendOptions { kind: BackendKind::Tract, ..Default::default() };
    Tagger::open(fixture(name), &TaggerOptions { backend, mode, ..Default::default() }).unwrap()
}

/// Compares the spans of `tagger` with the JSON Lines that the program of that time wrote.
fn assert_tags_as_before(tagger: &Tagger, expected: &str) {
    let text = std::fs::read_to_string(fixture(expected)).unwrap();
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = expected.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 5);
    for (tagged, row) in tagger.tag(&texts).unwrap().into_iter().zip(&expected) {
        let spans: Vec<TaggedSpan> = tagged.unwrap().spans;
        assert!(!spans.is_empty(), "{}", row["text"]);
        assert_eq!(serde_json::to_value(spans).unwrap(), row["spans"], "{}", row["text"]);
    }
}

#[test]
fn an_encoder_decoder_of_format_2_tags_as_when_it_was_written() {
    // The model is random: only legal targets are tags.
    let tagger = open("2/tagger.onnx", Mode::Constrained);
    let metadata = tagger.metadata();
    assert_eq!((metadata.format, metadata.task.as_str(), metadata.method.as_str()), (2, "mtop", "full"));
    assert_eq!(metadata.source_prefix, "mtop");
    assert_tags_as_before(&tagger, "2/expected.jsonl");
}

#[test]
fn a_token_classifier_of_format_2_tags_as_when_it_was_written() {
    let tagger = open("2/bert.onnx", Mode::default());
    let metadata = tagger.metadata();
    assert_eq!((metadata.format, metadata.task.as_str()), (2, "mtod"));
    assert_eq!(metadata.method, "unipelt-bert");
    assert_tags_as_before(&tagger, "2/bert.jsonl");
}
