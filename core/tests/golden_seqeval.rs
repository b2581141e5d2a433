//! Every case of the seqeval golden vectors: `sbio.jsonl` (text to score) and `bio.jsonl` (raw tag sequences).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{golden, rows};
use hyperloader_core::text::metrics::{Report, Scores, evaluate};
use hyperloader_core::text::spans::{SpanMode, fit_to_length, sbio_to_bio};
use hyperloader_core::text::words::split_whitespace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    support: Option<usize>,
}

#[derive(Deserialize)]
struct Averages {
    micro: Golden,
    #[serde(rename = "macro")]
    macro_: Golden,
    weighted: Golden,
}

#[derive(Deserialize)]
struct SbioCase {
    id: String,
    gold: Vec<String>,
    pred: Vec<String>,
    gold_bio: Vec<Vec<String>>,
    pred_bio: Vec<Vec<String>>,
    precision: f64,
    recall: f64,
    f1: f64,
    n_correct: usize,
    n_pred: usize,
    n_gold: usize,
    per_type: BTreeMap<String, Golden>,
    averages: Averages,
}

#[derive(Deserialize)]
struct BioCase {
    id: String,
    gold: Vec<Vec<String>>,
    pred: Vec<Vec<String>>,
    accuracy: f64,
    default: ModeCase,
    strict_iob2: ModeCase,
}

#[derive(Deserialize)]
struct ModeCase {
    #[serde(flatten)]
    averages: Averages,
    per_type: BTreeMap<String, Golden>,
}

/// `null` is NaN; all else agrees within 1e-9.
fn close(got: f64, want: Option<f64>) -> bool {
    want.map_or(got.is_nan(), |want| (got - want).abs() <= 1e-9)
}

fn compare(id: &str, what: &str, got: &Scores, want: &Golden) {
    let equal =
        close(got.precision, want.precision) && close(got.recall, want.recall) && close(got.f1, want.f1);
    assert!(equal, "{id} {what}: {got:?}");
    assert_eq!(got.support, want.support.unwrap_or(got.support), "{id} {what}");
}

fn compare_report(id: &str, report: &Report, averages: &Averages, labels: &BTreeMap<String, Golden>) {
    compare(id, "micro", &report.micro, &averages.micro);
    compare(id, "macro", &report.macro_, &averages.macro_);
    compare(id, "weighted", &report.weighted, &averages.weighted);
    assert!(report.per_label.keys().eq(labels.keys()), "{id}: {:?}", report.per_label);
    for (label, scores) in &report.per_label {
        compare(id, label, scores, &labels[label]);
    }
}

fn to_bio(text: &str) -> Vec<String> {
    let tags: Vec<String> = split_whitespace(text).into_iter().map(|word| word.text).collect();
    sbio_to_bio(&tags)
}

#[test]
fn generated_text_is_scored_as_by_the_reference() {
    let cases: Vec<SbioCase> = rows(&golden("seqeval/sbio.jsonl"));
    for case in &cases {
        let id = &case.id;
        let gold: Vec<_> = case.gold.iter().map(|text| to_bio(text)).collect();
        let predicted: Vec<_> =
            case.pred.iter().zip(&gold).map(|(text, gold)| fit_to_length(to_bio(text), gold.len())).collect();
        assert_eq!((&gold, &predicted), (&case.gold_bio, &case.pred_bio), "{id}");
        let report = evaluate(&gold, &predicted, SpanMode::Default).unwrap();
        let counts = (report.counts.correct, report.counts.predicted, report.counts.gold);
        assert_eq!(counts, (case.n_correct, case.n_pred, case.n_gold), "{id}");
        let micro = Golden {
            precision: Some(case.precision),
            recall: Some(case.recall),
            f1: Some(case.f1),
            support: Some(case.n_gold),
        };
        compare(id, "top level", &report.micro, &micro);
        compare_report(id, &report, &case.averages, &case.per_type);
    }
    println!("{} cases", cases.len());
}

#[test]
fn raw_tags_are_scored_as_by_seqeval_in_both_modes() {
    let cases: Vec<BioCase> = rows(&golden("seqeval/bio.jsonl"));
    for case in &cases {
        for (mode, want) in [(SpanMode::Default, &case.default), (SpanMode::StrictIob2, &case.strict_iob2)] {
            let report = evaluate(&case.gold, &case.pred, mode).unwrap();
            let id = format!("{} {mode:?}", case.id);
            assert!(close(report.accuracy, Some(case.accuracy)), "{id}: {}", report.accuracy);
            compare_report(&id, &report, &want.averages, &want.per_type);
        }
    }
    println!("{} cases", cases.len());
}
