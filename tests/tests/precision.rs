//! What a precision costs on the committed nano run: measured, refused where it is too much, and chosen.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, fixture};
use serde_json::Value;

fn export(place: &Workplace, arguments: &[&str]) -> Result<Value, String> {
    let mut export = place.program("hl-export");
    export.args(["--task", "snips", "--quiet", "--output-format", "json", "--run"]).arg(fixture("runs/nano"));
    let output = export.args(arguments).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(1) => Err(String::from_utf8(output.stderr).unwrap()),
        code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn half_precision_halves_the_file_and_changes_few_tags() {
    let place = Workplace::new();
    let whole = export(&place, &["--output", "f32.onnx"]).unwrap();
    assert!(whole.get("cost").is_none(), "{whole}");
    let bytes = |exported: &Value| exported["bytes"].as_f64().unwrap();
    for precision in ["f16", "bf16"] {
        let half = export(&place, &["--precision", precision, "--output", "half.onnx"]).unwrap();
        // Adapters and the tokenizer stay as they are; a T5-base's weigh next to nothing.
        assert!(bytes(&half) < 0.57 * bytes(&whole), "{half}");
        let cost = &half["cost"];
        assert_eq!(cost["sentences"], 300);
        assert!(cost["changed"].as_u64().unwrap() <= 6, "{cost}");
        assert!(cost["f1"].as_f64().unwrap() > cost["f1_f32"].as_f64().unwrap() - 0.005, "{cost}");
    }
}

#[test]
fn a_precision_that_costs_too_much_is_refused_with_the_matrices_that_are_responsible() {
    let place = Workplace::new();
    let message = export(&place, &["--precision", "int4"]).unwrap_err();
    assert!(message.contains("int4 costs more than 0.005 F1: F1 0."), "{message}");
    let kept: Vec<&str> = message.lines().filter(|line| line.contains("with `--keep-f32 ")).collect();
    assert_eq!(kept.len(), 6, "a T5 with tied embeddings has no matrix `lm_head`: {message}");
    assert!(kept.is_sorted_by(|a, b| a[..9] >= b[..9]), "{message}");
    assert!(!place.path("snips.onnx").exists());

    let kept = export(&place, &["--precision", "int4", "--keep-f32", "*"]).unwrap();
    assert_eq!(kept["cost"]["changed"], 0);
    let lax = export(&place, &["--precision", "int4", "--max-f1-drop", "0.2"]).unwrap();
    assert!(lax["cost"]["changed"].as_u64().unwrap() > 0, "{lax}");
    assert!(lax["bytes"].as_f64().unwrap() < 0.8 * 8_114_233.0, "smaller than int8: {lax}");
}

#[test]
fn auto_writes_the_smallest_file_that_is_accepted() {
    let place = Workplace::new();
    assert_eq!(export(&place, &["--precision", "auto"]).unwrap()["precision"], "int8");
    let message = export(&place, &["--precision", "auto", "--valid", "none.txt"]).unwrap_err();
    assert!(message.contains("`none.txt/seq.in`"), "{message}");
    let message = export(&place, &["--precision", "auto", "--no-cost"]).unwrap_err();
    assert!(message.contains("--no-cost"), "{message}");
}
