//! What the tests of this folder share.
// Each test binary uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use hyperloader_core::text::sentt::SentT;
use serde::de::DeserializeOwned;

/// The folder of golden vectors: `HYPERLOADER_GOLDEN`, else the one in the repository.
pub(crate) fn golden(folder: &str) -> PathBuf {
    let root =
        std::env::var_os("HYPERLOADER_GOLDEN").map_or_else(|| fixtures().join("golden"), PathBuf::from);
    root.join(folder)
}

/// The repository's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The codec over T5's vocabulary.
pub(crate) fn codec() -> SentT {
    SentT::from_file(fixtures().join("backbones/t5-nano/tokenizer.json")).unwrap()
}

/// All rows of a JSON Lines file; none is a failure.
pub(crate) fn rows<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty(), "no case in {}", path.display());
    rows
}

/// All `.jsonl` files of a folder; none is a failure.
pub(crate) fn jsonl_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    assert!(!files.is_empty(), "no .jsonl file in {}", folder.display());
    files
}
