//! The parsers.

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::corpus::{CorpusSpec, Layout, ReadOptions, Records};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::run::Run;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::{Alignment, TargetGrammar};
use hyperloader_core::text::words::WordRule;
use hyperloader_onnx::{decode_model, extract, summary};
use hyperloader_tests::{fixture, tiny_config};
use hyperloader_trainer::config::Config;

use crate::fuzz;

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The model without its weights, which would hide the graph among random bytes.
fn small_model(name: &str) -> Vec<u8> {
    use prost::Message;
    let mut model =
        decode_model(read(fixture("format/2").join(name)).into(), Path::new(name)).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.raw_data.len() > 64) {
        tensor.dims = vec![0];
        tensor.raw_data.clear();
    }
    model.metadata_props.retain(|entry| entry.value.len() < 200);
    model.encode_to_vec()
}

#[test]
fn onnx_models() {
    let seeds = ["tagger.onnx", "bert.onnx"].map(small_model);
    fuzz("onnx", seeds.into(), |bytes| {
        let Ok(model) = decode_model(bytes.to_vec().into(), Path::new("fuzz.onnx")) else { return false };
        let _ = extract(&model, &["input_ids", "attention_mask"], &["cross_key.0"]);
        let _ = extract(&model, &["input_ids"], &["logits"]);
        !summary::summary(&model).is_empty()
    });
}

/// Properties as lines `KEY=VALUE`; a tokenizer is too long to be damaged with effect.
#[test]
fn metadata() {
    let model = decode_model(read(fixture("format/2/tagger.onnx")).into(), Path::new("tagger.onnx"))
        .expect("a model");
    let lines = |keep: fn(&str) -> bool| {
        let lines = model.metadata().into_iter().filter(|(key, _)| keep(key));
        lines.map(|(key, value)| format!("{key}={value}\n")).collect::<String>().into_bytes()
    };
    let seeds = vec![lines(|_| true), lines(|key| !key.ends_with("drafter"))];
    fuzz("metadata", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let properties: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let Ok(metadata) = TaggerMetadata::from_properties(&properties) else { return false };
        // What is read can be written, and is then the same.
        let again = metadata.to_properties().expect("metadata that was read can be written");
        assert_eq!(TaggerMetadata::from_properties(&again).expect("what was written can be read"), metadata);
        true
    });
}

/// The first kilobytes of a file, up to the end of a line.
fn beginning(path: &Path) -> Vec<u8> {
    let bytes = read(path);
    let end =
        bytes.iter().take(4000).rposition(|byte| *byte == b'\n').map_or(bytes.len().min(4000), |at| at + 1);
    bytes[..end].to_vec()
}

/// Files below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn corpora() {
    let mut paths = Vec::new();
    for folder in ["corpora", "cases"] {
        files(&fixture(folder), &mut paths);
    }
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "md" && extension != "py"));
    paths.sort();
    let seeds = paths.iter().map(|path| beginning(path)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    fuzz("corpora", seeds, |bytes| {
        let mut accepted = false;
        for layout in Layout::ALL {
            // Each record or fault takes at least a byte, and reading ends.
            let records = Records::new(bytes, layout, &ReadOptions::default());
            assert!(records.count() <= bytes.len() + 1, "{layout}");
            if layout == Layout::SeqInOut {
                continue;
            }
            let path = folder.path().join("corpus");
            std::fs::write(&path, bytes).expect("a file");
            let spec = CorpusSpec::new(layout, &path, Some(path.clone()), &path);
            let Ok(corpus) = spec.read() else { continue };
            accepted = true;
            for sentence in &corpus.splits.train {
                assert!(!sentence.words.is_empty() && sentence.words.len() == sentence.tags.len());
                if let Some(text) = sentence.marked_text() {
                    let _ = text.counts(&sentence.tags);
                }
            }
        }
        accepted
    });
}

/// Text is split by every rule; its words are pieces of it.
#[test]
fn words() {
    let seeds = [
        "pay $450 or \u{20ac}75, please.",
        "what's 7pm \u{1f600}\u{200d}\u{1f469}?",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} e\u{301}",
    ];
    fuzz("words", seeds.map(|seed| seed.as_bytes().to_vec()).into(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let length = text.chars().count();
        for rule in WordRule::ALL {
            for lowercase in [false, true] {
                let words = hyperloader_core::text::words::WordSplitting { rule, lowercase }.split(&text);
                let mut end = 0;
                for word in words {
                    assert!(end <= word.start && word.start < word.end && word.end <= length);
                    end = word.end;
                }
            }
        }
        true
    });
}

/// Targets as pairs of bytes: ids of the vocabulary, special ones and ones that it lacks.
#[test]
fn targets() {
    let codec = SentT::from_file(fixture("backbones/t5-nano/tokenizer.json")).expect("a codec");
    let grammar = TargetGrammar::new(&codec, ["city", "date time", "date", "a.b"]).expect("a grammar");
    let bytes = |tags: &[usize]| {
        let ids = grammar.encode(tags).into_iter();
        ids.flat_map(|id| u16::try_from(id).expect("a small id").to_le_bytes()).collect::<Vec<u8>>()
    };
    let seeds = vec![bytes(&[0, 2, 1, 0, 4]), bytes(&[3; 40]), vec![]];
    fuzz("targets", seeds, |bytes| {
        let target: Vec<u32> =
            bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair).into()).collect();
        for words in [0, 1, 5, 99, 300] {
            for alignment in [Alignment::Order, Alignment::Sentinel] {
                let written =
                    grammar.decode(&codec, &target, words, alignment).expect("any ids can be decoded");
                assert_eq!(written.len(), words);
            }
            let _ = (
                grammar.in_order(&target, words),
                grammar.next(&target, words),
                grammar.next_repeated(&target),
            );
        }
        true
    });
}

#[test]
fn run_manifests() {
    let folder = tempfile::tempdir().expect("a folder");
    fuzz("manifests", vec![read(fixture("runs/nano/manifest.json"))], |bytes| {
        std::fs::write(folder.path().join("manifest.json"), bytes).expect("a file");
        let Ok(run) = Run::open(folder.path()) else { return false };
        // What a manifest promises can be listed without allocating it.
        run.manifest.trainable_tensors().is_ok_and(|tensors| !tensors.is_empty())
    });
}

#[test]
fn configurations() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    let seeds = vec![
        tiny_config().into_bytes(),
        read(hyperloader_tests::root().join("hyperloader.toml")),
        b"preset = \"hyperloader-paper\"\n[backbone]\nid = \"t5-base\"\n[method]\nmethod = \"unipelt\"\n[task.a]\ntrain = \"a.jsonl\"\n"
            .to_vec(),
    ];
    fuzz("configurations", seeds, |bytes| {
        std::fs::write(&path, bytes).expect("a file");
        Config::from_file(&path).is_ok_and(|config| config.validate().is_ok())
    });
}
