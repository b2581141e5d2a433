//! Uncertain tags are withheld as `hl-run` does it.

use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::calibration::{Calibration, Outcome};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_runtime::{
    Answer, BackendKind, BackendOptions, Guarantee, ModelFile, OffsetUnit, Tagger, TaggerOptions, Unit,
};
use serde_json::{Value, json};

use crate::common::{lexicon_bytes, metadata};
use crate::running::{Running, program};

const TEXTS: [&str; 4] = ["set an alarm for 7 am", "paris", "call new for 7 am", "7 am am am"];

fn options(guarantee: Option<Guarantee>) -> TaggerOptions {
    let backend = BackendOptions { kind: BackendKind::Tract, ..BackendOptions::default() };
    TaggerOptions { backend, scores: true, guarantee, ..TaggerOptions::default() }
}

/// The objects of `hl-run`.
fn objects(file: &[u8], guarantee: Option<Guarantee>) -> Vec<Value> {
    let file = ModelFile::from_bytes(file.to_vec(), "a.onnx").unwrap();
    let tagged = Tagger::new(file, &options(guarantee)).unwrap().tag(&TEXTS).unwrap();
    let object = |tagged| serde_json::to_value(Answer::new(&tagged, OffsetUnit::Chars)).unwrap();
    tagged.into_iter().map(|tagged| object(tagged.unwrap())).collect()
}

/// A file whose sentences are right from this score on, and wrong below.
fn right_from(score: f64) -> Vec<u8> {
    let outcome = |score, is_wrong| Outcome { score, is_wrong };
    let outcomes = [[outcome(score, false); 60], [outcome(0.0, true); 60]].concat();
    let selection = Some(SelectionTable::new(&outcomes, &outcomes));
    let calibration = Some(Calibration { selection, ..Calibration::default() });
    lexicon_bytes(&TaggerMetadata { calibration, ..metadata() })
}

#[test]
fn sentences_below_the_threshold_of_max_error_abstain() {
    let mut scores: Vec<f64> =
        objects(&right_from(0.5), None).iter().map(|object| object["score"].as_f64().unwrap()).collect();
    scores.sort_by(f64::total_cmp);
    let file = right_from(f64::midpoint(scores[1], scores[2]));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.onnx"), &file).unwrap();
    let server = Running::of_models(folder, &["a.onnx"], &["--max-error", "0.1", "--confidence", "0.9"]);
    let mut answered = server.post("/tag", json!({ "texts": TEXTS }).to_string()).json();
    for object in answered["results"].as_array_mut().unwrap() {
        object.as_object_mut().unwrap().remove("text");
    }
    let guarantee = Guarantee { of: Unit::Sentences, max_error: 0.1, confidence: 0.9 };
    assert_eq!(answered["results"], json!(objects(&file, Some(guarantee))));
    let abstained = |object: &&Value| object["abstained"] == true;
    assert_eq!(answered["results"].as_array().unwrap().iter().filter(abstained).count(), 2);
}

#[test]
fn a_model_that_cannot_give_the_guarantee_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.onnx"), lexicon_bytes(&metadata())).unwrap();
    let mut command = program();
    command
        .args(["a.onnx", "--backend", "tract", "--max-error", "0.1", "--check"])
        .current_dir(folder.path());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("its scores are not calibrated"), "{stderr}");
}
