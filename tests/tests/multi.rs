//! Several tasks in one graph: each gives what its own file gives, alone and in mixed batches.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::Path;

use hyperloader_core::format::multi::TASK_ID;
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, ModelFile, Value};
use hyperloader_tests::{Workplace, fixture};

const TASKS: [(&str, &str, usize); 3] = [
    ("mtop", "corpora/mtop/en/test.txt", 3),
    ("mtod", "corpora/mtod/en/test-en.tsv", 2),
    ("snips", "corpora/snips/test/seq.in", 0),
];

fn export(place: &Workplace, arguments: &[&str]) {
    let mut export = place.program("hl-export");
    export.args(["--quiet", "--run"]).arg(fixture("runs/nano")).args(arguments);
    let output = export.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `hl-run` prints as JSON Lines.
fn tag(place: &Workplace, arguments: &[&str], input: &str) -> String {
    let mut run = place.program("hl-run");
    run.args(["--quiet", "--output-format", "jsonl"]).args(arguments).write_stdin(input.to_owned());
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sentences(file: &str, column: usize) -> String {
    let text = std::fs::read_to_string(fixture(file)).unwrap();
    let column = |line: &str| format!("{}\n", line.split('\t').nth(column).unwrap());
    text.lines().take(30).map(column).collect()
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn each_task_of_a_file_tags_as_its_own_file_and_the_proof_holds() {
    let place = Workplace::new();
    export(&place, &["--multi", "all.onnx"]);
    export(&place, &["--all", "--no-verify"]);
    for (task, file, column) in TASKS {
        let (input, own) = (sentences(file, column), format!("{task}.onnx"));
        for backend in ["ort", "tract"] {
            let backend = ["--backend", backend];
            let alone = tag(&place, &[&["--model", &own][..], &backend].concat(), &input);
            let shared =
                tag(&place, &[&["--model", "all.onnx", "--task", task][..], &backend].concat(), &input);
            assert_eq!(alone, shared, "{task}");
        }
    }
    let several = tag(&place, &["--model", "all.onnx"], "play jazz\n");
    let own = ["--model", "mtod.onnx", "mtop.onnx", "snips.onnx"];
    let own: serde_json::Value = serde_json::from_str(&tag(&place, &own, "play jazz\n")).unwrap();
    let several: serde_json::Value = serde_json::from_str(&several).unwrap();
    for (task, ..) in TASKS {
        assert_eq!(several["tasks"][task], own["tasks"][task], "{task}");
    }
    let output = place.program("hl-run").args(["verify", "all.onnx"]).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && report.matches("ids of 9 sentences equal").count() == 2, "{report}");
    // Two more tasks take their adapters and LoRA pairs, not two more models.
    let (one, all) = (size(&place.path("mtop.onnx")), size(&place.path("all.onnx")));
    assert!(all < one + one / 4, "{all} bytes, {one} for a task alone");
}

#[test]
fn a_batch_may_mix_tasks() {
    let place = Workplace::new();
    export(&place, &["--multi", "all.onnx", "--no-verify"]);
    export(&place, &["--all", "--no-verify"]);
    let tasks: Vec<String> = ModelFile::open_all(place.path("all.onnx"))
        .unwrap()
        .iter()
        .map(|file| file.metadata().task.clone())
        .collect();
    let (source, target) = ([32099, 363, 19, 48, 32098, 1], [0, 32099, 411, 32098]);
    let rows = tasks.len();
    let batch = |ids: &[i64], rows: usize| Value::from_i64s(&[rows, ids.len()], ids.repeat(rows)).unwrap();
    for kind in [BackendKind::Ort, BackendKind::Tract] {
        let options = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
        let backend = Backend::load(&options).unwrap();
        let run = |file: &str, rows: usize, ids: Option<Value>| {
            let (input, mask, target) = (batch(&source, rows), batch(&[1; 6], rows), batch(&target, rows));
            let mut inputs = vec![(INPUT_IDS, &input), (ATTENTION_MASK, &mask), (DECODER_INPUT_IDS, &target)];
            inputs.extend(ids.iter().map(|ids| (TASK_ID, ids)));
            let mut graph = backend.open_file(&place.path(file)).unwrap();
            graph.run(&inputs).unwrap().remove(0).f32s().unwrap().to_vec()
        };
        let ids = Value::from_i64s(&[rows], (0..rows as i64).collect()).unwrap();
        let mixed = run("all.onnx", rows, Some(ids));
        for (row, task) in mixed.chunks_exact(mixed.len() / rows).zip(&tasks) {
            let alone = run(&format!("{task}.onnx"), 1, None);
            let largest = alone.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
            let difference = row.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 1e-4 + 1e-5 * largest, "{task} in {kind}: {difference}");
        }
    }
}

#[test]
fn a_task_that_is_not_there_and_one_that_is_not_chosen_are_errors() {
    let place = Workplace::new();
    export(&place, &["--multi", "all.onnx", "--no-verify"]);
    let error = |arguments: &[&str]| {
        let output = place.program("hl-run").arg("--quiet").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = error(&["--model", "all.onnx", "--task", "mtob", "play jazz"]);
    assert!(message.contains("no file has the task `mtob`"), "{message}");
    let gold = fixture("corpora/snips/test");
    let gold = gold.to_str().unwrap();
    let message = error(&["--model", "all.onnx", "--gold", gold]);
    assert!(
        message.contains("has the tasks `mtod`, `mtop`, `snips`, of which one must be chosen"),
        "{message}"
    );
    let message = error(&["--model", "all.onnx", "--gold", gold, "--task", "mtob"]);
    assert!(message.contains("has no task `mtob`, only `mtod`, `mtop`, `snips`"), "{message}");
    let mut export = place.program("hl-export");
    export.args(["--multi", "int8.onnx", "--precision", "int8", "--run"]).arg(fixture("runs/nano"));
    let message = String::from_utf8(export.output().unwrap().stderr).unwrap();
    assert!(message.contains("several tasks in one graph are float32, not int8"), "{message}");
}
