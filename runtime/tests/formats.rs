//! Files that earlier versions wrote still open, and tag as they did then.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hyperloader_core::format::tagger::{TaggerKind, TaggerMetadata};
use hyperloader_runtime::{BackendKind, BackendOptions, Mode, Tagger, TaggerOptions};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/format").join(name)
}

/// Tags the texts of `2/NAME.jsonl`, the output of the program of that time, and compares the spans.
fn assert_tags_as_before(name: &str, mode: Mode) -> TaggerMetadata {
    let backend = BackendOptions { kind: BackendKind::Tract, ..Default::default() };
    let options = TaggerOptions { backend, mode, ..Default::default() };
    let tagger = Tagger::open(fixture(&format!("2/{name}.onnx")), &options).unwrap();
    let text = std::fs::read_to_string(fixture(&format!("2/{name}.jsonl"))).unwrap();
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = expected.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(expected.iter().any(|row| !row["spans"].as_array().unwrap().is_empty()));
    for (tagged, row) in tagger.tag(&texts).unwrap().into_iter().zip(&expected) {
        assert_eq!(serde_json::to_value(tagged.unwrap().spans).unwrap(), row["spans"], "{}", row["text"]);
    }
    tagger.metadata().clone()
}

#[test]
fn an_encoder_decoder_of_format_2_tags_as_when_it_was_written() {
    // The model is random: only legal targets are tags.
    let metadata = assert_tags_as_before("t5", Mode::Constrained);
    assert_eq!((metadata.format, metadata.task.as_str(), metadata.method.as_str()), (2, "mtop", "full"));
    assert_eq!(metadata.source_prefix, "mtop");
}

#[test]
fn a_token_classifier_of_format_2_tags_as_when_it_was_written() {
    let metadata = assert_tags_as_before("bert", Mode::Verified);
    assert_eq!((metadata.format, metadata.kind), (2, TaggerKind::TokenClassifier));
    assert_eq!((metadata.task.as_str(), metadata.method.as_str()), ("mtod", "unipelt-bert"));
}
