//! Inputs that people really have (`fixtures/cases`, found in public reports) and others of the same kinds: each is read rightly, or
//! refused with what is wrong with it.
#![allow(clippy::unwrap_used)]

mod columns;
#[path = "../common/mod.rs"]
mod common;
mod settings;
mod spans;

use std::path::{Path, PathBuf};

use common::fixtures;
use hyperloader_core::corpus::{Corpus, CorpusSpec, Layout, Sentence};

fn case(file: &str) -> PathBuf {
    fixtures().join("cases").join(file)
}

/// A corpus whose splits are all in one file, with the layout of its extension or another.
fn spec(path: &Path, layout: Option<Layout>) -> CorpusSpec {
    CorpusSpec { layout, ..CorpusSpec::new(Layout::Conll, path, Some(path.to_owned()), path) }
}

fn pairs(sentence: &Sentence) -> String {
    let pairs = sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| format!("{word}/{tag}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Sentences, one per line, and what reading the file noted after `--`.
fn shown(corpus: &Corpus) -> String {
    let mut lines: Vec<String> = corpus.splits.train.iter().map(pairs).collect();
    let notes = corpus.files[0].report.notes();
    if !notes.is_empty() {
        lines.push("--".to_owned());
        lines.extend(notes);
    }
    lines.join("\n")
}

/// What became of a file: its sentences and notes, or the error without the folder.
fn outcome(spec: &CorpusSpec) -> String {
    match spec.read() {
        Ok(corpus) => shown(&corpus),
        Err(error) => error.to_string().replace(&format!("{}/", spec.train.parent().unwrap().display()), ""),
    }
}

fn of_case(file: &str, layout: Option<Layout>) -> String {
    outcome(&spec(&case(file), layout))
}

/// The outcome of `content` in a file called `name`, after `change` of the settings.
fn of_text(name: &str, content: impl AsRef<[u8]>, change: impl FnOnce(&mut CorpusSpec)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut spec = spec(&path, None);
    change(&mut spec);
    outcome(&spec)
}

fn plain(name: &str, content: impl AsRef<[u8]>) -> String {
    of_text(name, content, |_| ())
}

const ROSA: &str = "Meet/O Rosa/B-PER in/O Lima/B-LOC";
