//! `unipelt-bert` from corpus to spans: trained on two tasks, exported, verified, and run in both runtimes.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test that cannot go on should fail.

use std::path::Path;

use hyperloader_core::run::Run;
use hyperloader_exporter::PACKAGES;
use hyperloader_tests::training::train_until;
use hyperloader_tests::{Workplace, fixture};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::parallel::Group;
use hyperloader_trainer::train::{End, Training, Unobserved};
use serde_json::Value;

/// Two tasks of the excerpts on the tiny BERT.
fn config(steps: u64, dropout: f64, more: &str) -> String {
    let (backbone, corpora) = (fixture("backbones/bert-tiny"), fixture("corpora"));
    let (backbone, corpora) = (backbone.display(), corpora.display());
    format!(
        "[backbone]\npath = \"{backbone}\"\n\n\
         [method]\nmethod = \"unipelt-bert\"\n\
         prefix_len = 5\nprefix_hidden = 32\nadapter_reduction_factor = 3\n\n\
         [training]\nsteps = {steps}\nbatch_size = 8\nwarmup_steps = 5\nlearning_rate = 1e-2\nevaluate_every = 40\n\
         label_smoothing = 0.0\ndropout = {dropout}\nthreads = 1\n{more}\n\
         [task.snips]\nlayout = \"seq-in-out\"\ntrain = \"{corpora}/snips/train\"\nvalid = \"{corpora}/snips/valid\"\n\
         test = \"{corpora}/snips/test\"\n\n\
         [task.mtod]\nlayout = \"mtod\"\ntrain = \"{corpora}/mtod/en/train-en.tsv\"\n\
         valid = \"{corpora}/mtod/en/eval-en.tsv\"\ntest = \"{corpora}/mtod/en/test-en.tsv\"\n"
    )
}

fn jsonl(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run that learned something, trained once for all tests.
fn trained() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", config(200, 0.0, "fraction = 0.4"));
    place.program("hl-train").args(["--quiet", "--name", "run"]).assert().success();
    place
}

#[test]
fn two_tasks_are_learned_exported_verified_and_run_the_same_in_both_runtimes() {
    let place = trained();
    let metrics = jsonl(&std::fs::read(place.path("runs/run/metrics.jsonl")).unwrap());
    for task in ["snips", "mtod"] {
        let validation = metrics.iter().filter(|m| m["kind"] == "validation" && m["task"] == task);
        let losses: Vec<f64> = validation.map(|m| m["evaluation"]["loss"].as_f64().unwrap()).collect();
        println!("{task}: validation losses {losses:.3?}");
        let train = metrics.iter().filter(|m| m["kind"] == "train" && m["task"] == task);
        let train: Vec<f64> = train.map(|m| m["loss"].as_f64().unwrap()).collect();
        println!("{task}: training losses {train:.3?}");
        assert!(train[train.len() - 1] < 0.8 * train[0], "{task}: {train:?}");
    }
    let outcome = metrics.iter().find(|m| m["kind"] == "outcome").unwrap();
    let f1 = outcome["test"]["snips"]["f1"].as_f64().unwrap();
    println!("snips: test F1 {f1:.3}");
    assert!(f1 > 0.1, "{f1}");

    let export = place.program("hl-export").args(["--all"]).assert().success();
    let stderr = String::from_utf8_lossy(&export.get_output().stderr).into_owned();
    println!("{stderr}");
    for rung in ["un-folded vs folded", "folded vs ONNX Runtime", "vs tract"] {
        let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(rung)).collect();
        assert_eq!(lines.len(), 2, "{rung}: {stderr}");
        assert!(lines.iter().all(|line| line.ends_with("tags equal in 3 of 3: ok")), "{rung}: {stderr}");
    }

    PACKAGES.iter().for_each(|name| drop(place.write(&format!("packages/{name}"), "")));
    let mut web = place.program("hl-export");
    web.args(["--task", "snips", "--web", "site", "--web-runtime", "packages", "--no-cost", "--quiet"]);
    let expected = "error: the task's model has no decoder, and the page runs encoder-decoders only\n\
                    hint: train the task on a T5; `hl-export --task TASK` writes a file for `hl-run`\n";
    web.assert().code(1).stdout("").stderr(expected);
    assert!(!place.path("site").exists());

    let sentences = std::fs::read_to_string(fixture("corpora/snips/test/seq.in")).unwrap();
    let sentences: Vec<&str> = sentences.lines().take(40).collect();
    let tagged = |backend: &str, batch: &str| {
        let mut run = place.program("hl-run");
        run.args(["--model", "snips.onnx", "--backend", backend, "--batch-size", batch, "--threads", "1"]);
        let run = run.args(["--output-format", "jsonl"]).write_stdin(sentences.join("\n"));
        jsonl(&run.assert().success().get_output().stdout)
    };
    let together = tagged("ort", "32");
    // Gates count tokens alone, so neighbours in a batch change nothing.
    assert_eq!(tagged("ort", "1"), together);
    assert_eq!(tagged("tract", "32"), together);
    assert_eq!(together.len(), sentences.len());
    let spans: Vec<&Value> = together.iter().flat_map(|line| line["spans"].as_array().unwrap()).collect();
    println!("{} spans in {} sentences, such as {}", spans.len(), sentences.len(), spans[0]);
    assert!(spans.len() > sentences.len() / 2);
}

/// So few updates leave a model that looks untrained; no other warning is expected.
fn looks_untrained(warning: &str) {
    assert!(warning.contains("looks untrained"), "{warning}");
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_same_tensors() {
    let place = Workplace::new();
    let path = place.write("hyperloader.toml", config(12, 0.1, "fraction = 0.02\nsave_every = 4"));
    let train = |name: &str, stop_after: u64| {
        let config = Config { name: Some(name.to_owned()), ..Config::from_file(&path).unwrap() };
        let training = Training::prepare(config, None, Group::alone(), &mut Unobserved).unwrap();
        train_until(training, stop_after, looks_untrained).unwrap()
    };
    assert!(matches!(train("whole", 99), End::Finished(_)));
    let End::Stopped { run, step } = train("cut", 7) else { panic!("not stopped") };
    assert_eq!(step, 7);
    let config = Config::from_file(&run.join("config.toml")).unwrap();
    let training =
        Training::resume(config, Run::open(&run).unwrap(), Group::alone(), &mut Unobserved).unwrap();
    let end = train_until(training, 99, looks_untrained).unwrap();
    assert!(matches!(end, End::Finished(_)));
    let last =
        |name: &str| std::fs::read(place.path(&format!("runs/{name}/checkpoints/step-000012.safetensors")));
    assert_eq!(last("cut").unwrap(), last("whole").unwrap());
}

/// Exit code, stdout and stderr of `hl-train` with a changed configuration; no run is left.
fn train_transcript(name: &str, config: &str) {
    let place = Workplace::new();
    place.write("hyperloader.toml", config);
    let transcript = place.transcript(place.program("hl-train").args(["--steps", "1", "--quiet"]));
    assert!(!place.path("runs").exists(), "{transcript}");
    insta::assert_snapshot!(name, transcript);
}

#[test]
fn backbones_and_options_of_the_other_kind_of_method_are_refused() {
    let good = config(1, 0.0, "");
    let t5 = fixture("backbones/t5-nano").to_string_lossy().into_owned();
    let bert = fixture("backbones/bert-tiny").to_string_lossy().into_owned();
    train_transcript("t5_folder_for_unipelt_bert", &good.replace(&bert, &t5));
    let hyperloader = hyperloader_tests::tiny_config();
    let hyperdecoder = hyperloader.replace("reduction_factor = 8", "method = \"hyperdecoder\"");
    train_transcript("bert_folder_for_hyperdecoder", &hyperdecoder.replace(&t5, &bert));
    let method = "method = \"unipelt-bert\"\n";
    for (name, from, to) in [
        ("lora_for_unipelt_bert", method, format!("{method}lora = {{ rank = 4 }}\n")),
        ("task_embedding_for_unipelt_bert", method, format!("{method}task_embed_dim = 32\n")),
        ("unipelt_for_hyperloader", method, String::new()),
        ("unipelt_bert_rank", "prefix_len = 5", "lora_rank = 0".to_owned()),
        ("unipelt_bert_field", "prefix_len = 5", "prefix_length = 5".to_owned()),
        ("bert_positions", "batch_size = 8", "max_source_len = 200".to_owned()),
    ] {
        assert!(good.contains(from), "{from}");
        train_transcript(name, &good.replace(from, &to));
    }
}

#[test]
fn a_warm_start_on_other_labels_learns_their_classifiers_anew() {
    let place = Workplace::new();
    let first = config(2, 0.0, "fraction = 0.02");
    place.write("hyperloader.toml", first.clone());
    place.program("hl-train").args(["--quiet", "--name", "first"]).assert().success();
    place.write("hyperloader.toml", first.replace("fraction = 0.02", "fraction = 0.04"));
    let mut train = place.program("hl-train");
    train.args(["--name", "second", "--warm-start", "runs/first"]);
    let output = train.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    let note = message.lines().find(|line| line.contains("starts from run `first`")).unwrap_or_default();
    assert!(note.contains(" tensors taken; ") && note.contains(" new, for `"), "{message}");
}

#[test]
fn an_export_on_the_backbone_of_the_other_kind_is_refused() {
    let place = Workplace::new();
    place.write("hyperloader.toml", config(2, 0.0, "fraction = 0.02"));
    place.program("hl-train").args(["--quiet", "--name", "bert"]).assert().success();
    let nano = fixture("runs/nano");
    for (name, run, task, backbone) in [
        ("export_of_bert_on_t5", Path::new("runs/bert"), "snips", "backbones/t5-nano"),
        ("export_of_t5_on_bert", nano.as_path(), "snips", "backbones/bert-tiny"),
    ] {
        let mut export = place.program("hl-export");
        export.args(["--quiet", "--task", task, "--run"]).arg(run).arg("--backbone").arg(fixture(backbone));
        insta::assert_snapshot!(name, place.transcript(&mut export));
    }
    assert_eq!(place.files(), ["hyperloader.toml", "runs"]);
}
