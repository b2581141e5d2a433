//! What a precision costs on the committed nano run: measured, refused where it is too much, and chosen.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, fixture};
use serde_json::Value;

fn export(place: &Workplace, arguments: &[&str]) -> Result<Value, String> {
    let mut export = place.program("hl-export");
    export
        .args(["--task", "snips", "--quiet", "--force", "--output-format", "json", "--run"])
        .arg(fixture("runs/nano"));
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
fn a_name_that_no_matrix_has_is_an_error() {
    let place = Workplace::new();
    let message =
        export(&place, &["--precision", "f16", "--keep-f32", "shared.*", "--keep-f32", "wte*"]).unwrap_err();
    assert!(message.contains("no matrix of the model has a name like `wte*`"), "{message}");
    assert!(message.contains("hint: names are those in the file, such as `"), "{message}");
    let message = export(&place, &["--keep-f32", "shared.*"]).unwrap_err();
    assert!(message.contains("no effect on a file in f32"), "{message}");
}

#[test]
fn the_tasks_of_a_bundle_are_measured_and_the_first_that_costs_too_much_ends_it() {
    let place = Workplace::new();
    let mut export = place.program("hl-export");
    export.args(["--bundle", "taggers", "--precision", "int8", "--max-f1-drop", "0.05", "--no-verify"]);
    export.args(["--quiet", "--output-format", "jsonl", "--run"]).arg(fixture("runs/nano"));
    let output = export.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let costs = lines.lines().filter(|line| line.contains("\"cost\":{\"sentences\":300,")).count();
    assert_eq!(costs, 3, "{lines}{}", String::from_utf8_lossy(&output.stderr));

    // The shared weights are read: no output replaces them.
    let names = std::fs::read_dir(place.path("taggers")).unwrap().map(|file| file.unwrap().path());
    let weights =
        names.into_iter().find(|path| path.extension().is_some_and(|end| end == "weights")).unwrap();
    let before = std::fs::metadata(&weights).unwrap().len();
    let mut run = place.program("hl-run");
    run.args(["--model", "taggers/snips.onnx", "--output-format", "jsonl", "--output"]).arg(&weights);
    let output = run.arg("play jazz").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("it is the same file as weights of the model"), "{message}");
    assert_eq!((output.status.code(), std::fs::metadata(&weights).unwrap().len()), (Some(1), before));

    let mut export = place.program("hl-export");
    export.args(["--bundle", "none", "--precision", "int4", "--max-f1-drop", "0", "--quiet", "--run"]);
    let output = export.arg(fixture("runs/nano")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("int4 costs more than 0 F1"));
    assert_eq!(
        std::fs::read_dir(place.path("none")).unwrap().count(),
        0,
        "nothing refers to the shared weights"
    );
}

#[test]
fn sentences_of_which_f32_finds_none_right_give_a_warning_and_an_empty_file_is_an_error() {
    let place = Workplace::new();
    let corpus = |words: &str, tags: &str, labels: &str| {
        let folder = place.path("valid");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("seq.in", words), ("seq.out", tags), ("label", labels)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
    };
    let arguments =
        ["--task", "snips", "--precision", "f16", "--no-verify", "--force", "--valid", "valid", "--run"];
    let run = || {
        let mut export = place.program("hl-export");
        export.args(arguments).arg(fixture("runs/nano")).output().unwrap()
    };
    corpus("play jazz\n", "O B-nothing\n", "x\n");
    let output = run();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && message.contains("what f16 costs is not known"), "{message}");
    corpus("", "", "");
    let output = run();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("valid"), "{message}");
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
