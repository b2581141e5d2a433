//! Evaluation of a tagger whose tags are known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{lexicon_bytes, lexicon_tagger, metadata};
use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::calibration::{Calibration, Outcome};
use hyperloader_core::corpus::{CorpusSpec, Layout, Sentence};
use hyperloader_runtime::{
    Alignment, BackendKind, BackendOptions, Comparison, Evaluation, EvaluationError, Guarantee, ModelFile,
    Split, Tagger, TaggerMetadata, TaggerOptions, Unit,
};

fn open(options: TaggerOptions) -> Tagger {
    let backend = BackendOptions { kind: BackendKind::Tract, ..BackendOptions::default() };
    Tagger::open(lexicon_tagger(), &TaggerOptions { backend, ..options }).unwrap()
}

/// The sentences of a file as the tagger splits text.
fn read(name: &str, text: &str, tagger: &Tagger) -> Vec<Sentence> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let spec = CorpusSpec { words: Some(tagger.splitting()), ..CorpusSpec::new(Layout::Conll, "", None, "") };
    let spec = CorpusSpec { layout: None, ..spec };
    spec.read_file(&path).unwrap().0
}

#[test]
fn scores_are_those_of_the_tags_that_the_tagger_gives() {
    let tagger = open(TaggerOptions::default());
    let text = "call O\nparis B-place\n\nset O\n7 B-date_time\nam O\n\ncaf\u{e9} B-food\n. O\n\n\
                set O\n7 B-date_time\nam I-date_time\n";
    let sentences = read("gold.conll", text, &tagger);
    let evaluation = Evaluation::new(&tagger, &sentences).unwrap();
    // Found: paris, and `7 am` in the last sentence. Wrong: `7 am` for `7`, and place for food.
    let counts = evaluation.scores.counts;
    assert_eq!((counts.correct, counts.predicted, counts.gold), (2, 4, 4));
    assert_eq!((evaluation.sentences, evaluation.words), (4, 10));
    assert_eq!(evaluation.unknown_labels, BTreeSet::from(["food".to_owned()]));
    let confused: Vec<_> = evaluation
        .details
        .confusion
        .iter()
        .map(|c| (c.gold.as_deref(), c.predicted.as_deref(), c.count))
        .collect();
    let expected = [
        (None, Some("date_time"), 1),
        (Some("date_time"), None, 1),
        (Some("date_time"), Some("date_time"), 1),
        (Some("food"), Some("place"), 1),
        (Some("place"), Some("place"), 1),
    ];
    assert_eq!(confused, expected);
    assert_eq!(evaluation.details.worst.len(), 2);
    assert!(evaluation.exact.is_none() && evaluation.untagged.is_empty());
    assert_eq!((evaluation.statistics.sentences, evaluation.statistics.parts), (4, 4));
}

#[test]
fn spans_inside_words_are_errors_of_the_score_by_characters_only() {
    let tagger = open(TaggerOptions::default());
    let text = concat!(
        "{\"text\": \"call Caf\u{e9}, paris\", \"spans\": [[5, 9, \"place\"], [11, 16, \"place\"]]}\n",
        "{\"text\": \"new paris\", \"spans\": [[0, 2, \"place\"], [4, 9, \"place\"]]}\n",
    );
    let sentences = read("gold.jsonl", text, &tagger);
    let evaluation = Evaluation::new(&tagger, &sentences).unwrap();
    assert!((evaluation.scores.micro.f1 - 1.0).abs() < 1e-9);
    // `ne` of `new` is no word: the tagger found `new`.
    let exact = evaluation.exact.unwrap();
    assert!((exact.f1 - 0.75).abs() < 1e-9 && exact.support == 4, "{exact:?}");
    // Sentences whose words are marked count by words.
    let words = read("gold.conll", "call O\nparis B-place\n", &tagger);
    let mixed = Evaluation::new(&tagger, &[sentences, words].concat()).unwrap().exact.unwrap();
    assert!((mixed.f1 - 0.8).abs() < 1e-9 && mixed.support == 5, "{mixed:?}");
}

#[test]
fn long_sentences_are_scored_whole_and_those_that_cannot_be_tagged_as_untagged() {
    let text = format!("{}paris B-place\n", "set O\n".repeat(40));
    let split = open(TaggerOptions::default());
    let sentences = read("gold.conll", &text, &split);
    let evaluation = Evaluation::new(&split, &sentences).unwrap();
    assert_eq!((evaluation.scores.counts.correct, evaluation.statistics.sentences), (1, 1));
    assert!(evaluation.statistics.parts > 3);
    let whole = open(TaggerOptions { split: Split::Never, ..TaggerOptions::default() });
    let evaluation = Evaluation::new(&whole, &sentences).unwrap();
    assert_eq!((evaluation.untagged.len(), evaluation.untagged[0].line), (1, 1));
    let counts = evaluation.scores.counts;
    assert_eq!((counts.correct, counts.predicted, counts.gold), (0, 0, 1));
}

#[test]
fn taggers_are_compared_on_the_sentences_that_they_tag_differently() {
    let tagger = |align| open(TaggerOptions { align, ..TaggerOptions::default() });
    let [order, sentinel] = [Alignment::Order, Alignment::Sentinel].map(tagger);
    let text = "call O\nparis B-place\n\nskip O\ncall O\nparis B-place\n\n".repeat(30);
    let sentences = read("gold.conll", &text, &order);
    let [first, second] = [&order, &sentinel].map(|tagger| Evaluation::new(tagger, &sentences).unwrap());
    let comparison = Comparison::new(&sentences, &first, &second, 2);
    assert_eq!((comparison.differing, comparison.shown.len()), (30, 2));
    let shown = &comparison.shown[0];
    assert_eq!((shown.line, shown.second.join(" ").as_str()), (4, "O O B-place"));
    assert!(comparison.f1[1] > 0.99 && comparison.difference > 0.4 && comparison.p < 1e-3, "{comparison:?}");
    let back = Comparison::new(&sentences, &second, &first, 0);
    assert!((back.difference + comparison.difference).abs() < 1e-12 && back.p < 1e-3);
    let same = Comparison::new(&sentences, &first, &first, 5);
    assert_eq!((same.differing, same.difference, same.p), (0, 0.0, 1.0));
}

#[test]
fn a_tagger_that_withholds_tags_is_not_evaluated() {
    let right = [Outcome { score: 0.5, is_wrong: false }; 60];
    let selection = Some(SelectionTable::new(&right, &right));
    let calibration = Calibration { selection, ..Calibration::default() };
    let metadata = TaggerMetadata { calibration: Some(calibration), ..metadata() };
    let file = ModelFile::from_bytes(lexicon_bytes(&metadata), "a.onnx").unwrap();
    let backend = BackendOptions { kind: BackendKind::Tract, ..BackendOptions::default() };
    let guarantee = Some(Guarantee { of: Unit::Sentences, max_error: 0.1, confidence: 0.9 });
    let tagger =
        Tagger::new(file, &TaggerOptions { backend, guarantee, ..TaggerOptions::default() }).unwrap();
    let sentences = read("gold.conll", "paris B-place\n", &tagger);
    let error = Evaluation::new(&tagger, &sentences).unwrap_err();
    assert!(matches!(error, EvaluationError::Withholds), "{error}");
}
