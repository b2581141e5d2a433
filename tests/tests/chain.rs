//! The chain over the real binaries: a corpus goes in, labeled spans come out.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, tiny_config};
use serde_json::Value;

fn jsonl(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_three_programs_work_one_after_the_other_with_no_options_but_the_documented_ones() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    let train = place.program("hl-train").args(["--steps", "20"]).assert().success();
    let scores = String::from_utf8_lossy(&train.get_output().stdout).into_owned();
    assert!(scores.contains("atis") && scores.contains("movie"), "{scores}");
    let metrics = std::fs::read(place.path("runs/hyperloader-1/metrics.jsonl")).unwrap();
    let metrics = jsonl(&metrics);
    let of = |kind: &str| metrics.iter().filter(|m| m["kind"] == kind).count();
    assert_eq!((of("train"), of("validation"), of("outcome")), (2, 4, 1));

    // Fitted at the end of the training, and again the same with the same number of threads.
    let drafters = || std::fs::read(place.path("runs/hyperloader-1/drafters.safetensors")).unwrap();
    let fitted = drafters();
    place.program("hl-train").arg("drafter").assert().success();
    assert!(drafters() == fitted);

    place.program("hl-export").args(["--task", "atis"]).assert().success();
    let sentence = "show me flights from boston to denver";
    let tags: Vec<Vec<Value>> = [("ort", "verified"), ("tract", "verified"), ("ort", "greedy")]
        .iter()
        .map(|(backend, decode)| {
            let mut run = place.program("hl-run");
            run.args(["--model", "atis.onnx", "--backend", backend, "--decode", decode]);
            let run = run.args(["--output-format", "jsonl", sentence]).assert().success();
            jsonl(&run.get_output().stdout)
        })
        .collect();
    assert!(tags.iter().all(|other| *other == tags[0]), "{tags:?}");
    assert_eq!(tags[0][0]["text"], sentence);
    assert_eq!(place.files(), ["atis.onnx", "hyperloader.toml", "runs"]);
}

#[test]
fn the_same_seed_trains_the_same_tensors_and_a_warm_start_begins_from_them() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    for name in ["a", "b"] {
        let arguments = ["--steps", "10", "--threads", "1", "--quiet", "--name", name];
        place.program("hl-train").args(arguments).assert().success();
    }
    let tensors =
        |run: &str| std::fs::read(place.path(run).join("checkpoints/step-000010.safetensors")).unwrap();
    assert_eq!(tensors("runs/a"), tensors("runs/b"));

    let arguments = ["--steps", "1", "--warm-start", "runs/a", "--name", "warm", "--quiet"];
    place.program("hl-train").args(arguments).assert().success();
    let first = |run: &str| {
        let metrics = std::fs::read(place.path(run).join("metrics.jsonl")).unwrap();
        let losses = jsonl(&metrics).into_iter().filter(|m| m["kind"] == "validation");
        losses.map(|m| m["evaluation"]["loss"].as_f64().unwrap()).sum::<f64>()
    };
    // The first update has learning rate 0: a warm start is validated with the tensors it started from.
    let (warm, cold) = (first("runs/warm"), first("runs/a"));
    assert!((warm - cold).abs() < 1e-4 * cold, "{warm} {cold}");
}
