//! Bad input: each case ends with exit 1 (0 bad lines skipped among good ones still is 1), an error that names the thing,
//! and no partial file.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, fixture, tiny_config};

/// A place with a working configuration.
fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    place
}

/// `hl-train` with a changed configuration leaves no run folder.
fn train_transcript(place: &Workplace, config: &str) -> String {
    place.write("hyperloader.toml", config);
    let transcript = place.transcript(place.program("hl-train").args(["--steps", "1", "--quiet"]));
    assert!(!place.path("runs").exists(), "{transcript}");
    transcript
}

#[test]
fn a_missing_configuration_is_named() {
    let place = Workplace::new();
    insta::assert_snapshot!(place.transcript(&mut place.program("hl-train")));
}

#[test]
fn a_mistyped_field_is_named_with_its_line_and_the_nearest_known_one() {
    insta::assert_snapshot!(train_transcript(&place(), &tiny_config().replace("batch_size", "batch_sise")));
}

#[test]
fn an_impossible_value_is_named() {
    insta::assert_snapshot!(train_transcript(&place(), &tiny_config().replace("1e-3", "-1.0")));
}

#[test]
fn values_that_cannot_be_are_named_with_what_would_do() {
    for (name, from, to) in [
        ("evaluate_every", "evaluate_every = 10", "evaluate_every = 0"),
        ("batch_size", "batch_size = 4", "batch_size = 0"),
        ("learning_rate_text", "learning_rate = 1e-3", "learning_rate = \"high\""),
        ("schedule", "steps = 20", "schedule = \"linaer\""),
        ("temperature", "steps = 20", "temperature = 0.5"),
        ("label_smoothing", "steps = 20", "label_smoothing = 1.0"),
        ("dropout", "steps = 20", "dropout = 1.5"),
        ("max_source_len", "max_source_len = 64", "max_source_len = 2"),
        ("precision", "steps = 20", "precision = \"fp16\""),
        ("preset", "[backbone]", "preset = \"hyperloader-papr\"\n[backbone]"),
        ("gradient_accumulation", "steps = 20", "gradient_accumulation = 0"),
        ("parts", "steps = 20", "parts = 0"),
        ("parts_of_batch", "steps = 20", "parts = 5"),
        ("keep_last", "steps = 20", "keep_last = 0"),
        ("save_every", "steps = 20", "save_every = 0"),
        ("twice", "steps = 20", "steps = 20\nsteps = 21"),
        ("batch_size_huge", "batch_size = 4", "batch_size = 4000000000000000000"),
        ("threads_huge", "steps = 20", "threads = 3000000000"),
        ("name_outside", "[backbone]", "name = \"../elsewhere\"\n[backbone]"),
        ("name_empty", "[backbone]", "name = \"\"\n[backbone]"),
        ("device", "steps = 20", "device = \"gpu\""),
        ("method", "reduction_factor = 8", "method = \"hyperlaoder\""),
        ("reduction_factor", "reduction_factor = 8", "reduction_factor = 5"),
        ("rank", "reduction_factor = 8", "lora = { rank = 0 }"),
        ("lora_heads", "reduction_factor = 8", "lora = { heads = \"by-sight\" }"),
        ("adapters", "reduction_factor = 8", "adapters = \"some\""),
        ("no_lora", "reduction_factor = 8", "method = \"hyperformer++\"\nlora = { rank = 4 }"),
        ("task_name", "[task.movie]", "[task.\"my movie\"]"),
        ("layout", "layout = \"bio-columns\"", "layout = \"bio-colums\""),
    ] {
        let config = tiny_config();
        assert!(config.contains(from), "{name}: `{from}`");
        insta::assert_snapshot!(
            format!("value_{name}"),
            train_transcript(&place(), &config.replacen(from, to, 1))
        );
    }
}

#[test]
fn a_backbone_whose_weights_do_not_fit_its_configuration_is_named_with_both_shapes() {
    let place = place();
    let backbone = fixture("backbones/t5-nano");
    for name in ["model.safetensors", "tokenizer.json"] {
        place.write(&format!("t5/{name}"), std::fs::read(backbone.join(name)).unwrap());
    }
    let shape = std::fs::read_to_string(backbone.join("config.json")).unwrap();
    place.write("t5/config.json", shape.replace("\"d_ff\": 512", "\"d_ff\": 256"));
    let config = tiny_config().replace(&*backbone.to_string_lossy(), "t5");
    insta::assert_snapshot!(train_transcript(&place, &config));
}

#[test]
fn a_warm_start_from_nothing_or_from_another_method_is_refused() {
    let place = place();
    let nano = fixture("runs/nano").to_string_lossy().into_owned();
    for (name, run) in [("warm_start_missing", "runs/none"), ("warm_start_other", &nano)] {
        let mut train = place.program("hl-train");
        train.args(["--steps", "1", "--quiet", "--warm-start", run]);
        insta::assert_snapshot!(name, place.transcript(&mut train));
        assert!(!place.path("runs").exists());
    }
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named() {
    let place = place();
    place.write("runs", "a file");
    let mut train = place.program("hl-train");
    insta::assert_snapshot!(place.transcript(train.args(["--steps", "1", "--quiet"])));
    assert_eq!(std::fs::read(place.path("runs")).unwrap(), b"a file");
}

/// `hl-train` in a shell that sets limits first.
fn train_limited(place: &Workplace, limits: &str, arguments: &str) -> std::process::Output {
    let program = hyperloader_tests::binaries().join("hl-train");
    let script = format!("{limits}; exec {} --quiet --threads 1 {arguments}", program.display());
    let mut shell = assert_cmd::Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.path(".")).env("NO_COLOR", "1");
    shell.output().unwrap()
}

#[test]
fn a_full_disk_ends_a_training_with_the_file_that_did_not_fit() {
    let place = place();
    // Files of more than 512 KiB fail as on a full disk: a checkpoint does, a log does not.
    let output = train_limited(&place, "trap '' XFSZ; ulimit -f 1024", "--steps 1");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("cannot write `") && log.contains("step-000000.safetensors`"), "{log}");
    let checkpoints = place.path("runs/hyperloader-1/checkpoints");
    assert_eq!(std::fs::read_dir(checkpoints).unwrap().count(), 0, "no partial file stays");
}

#[test]
fn a_step_that_needs_too_much_memory_is_named_and_the_state_before_it_is_saved() {
    let place = place();
    let config = tiny_config().replace("batch_size = 4", "batch_size = 60000");
    place.write("hyperloader.toml", config);
    let output = train_limited(&place, "ulimit -v 5000000", "--steps 1 --name big");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("step 1 failed on task `") && log.contains("60000 sentences"), "{log}");
    assert!(log.contains("can't allocate memory") && log.contains("gradient_accumulation"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(place.path("runs/big/checkpoints/step-000000.optimizer.safetensors").exists());
}

#[test]
fn a_loss_that_is_no_number_is_named_with_its_batch_and_the_state_before_it_is_saved() {
    let place = place();
    let config = tiny_config().replace("learning_rate = 1e-3", "learning_rate = 1e30");
    place.write("hyperloader.toml", config.replace("warmup_steps = 5", "warmup_steps = 0"));
    let mut train = place.program("hl-train");
    let output = train.args(["--quiet", "--threads", "1", "--name", "wild"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("at step ") && log.contains("sentences (training examples "), "{log}");
    assert!(log.contains("hint: a lower `training.learning_rate`"), "{log}");
    assert!(place.path("runs/wild/checkpoints").read_dir().unwrap().count() > 2);
}

#[test]
fn a_missing_backbone_is_named() {
    insta::assert_snapshot!(train_transcript(&place(), &tiny_config().replace("t5-nano", "t5-none")));
}

#[test]
fn a_missing_corpus_file_is_named() {
    insta::assert_snapshot!(train_transcript(&place(), &tiny_config().replace("engtrain", "engtrian")));
}

#[test]
fn a_corpus_line_with_mismatched_columns_is_named() {
    let place = place();
    place.write("corpus/seq.in", "two words\nthree more words\n");
    place.write("corpus/seq.out", "O B-x\nO O\n");
    let atis = fixture("corpora/atis/train");
    let config = tiny_config().replace(&*atis.to_string_lossy(), "corpus");
    insta::assert_snapshot!(train_transcript(&place, &config));
}

#[test]
fn a_label_that_is_empty_or_holds_white_space_is_named() {
    for (name, line) in [
        ("empty_label", r#"{"tokens": ["a", "b"], "tags": ["O", "B-"]}"#),
        ("white_space_label", r#"{"tokens": ["a", "b"], "tags": ["O", "B-first name"]}"#),
    ] {
        let place = place();
        place.write("corpus.jsonl", format!("{}\n{line}\n", r#"{"tokens": ["a"], "tags": ["B-x"]}"#));
        let movie = fixture("corpora/mit_movie/engtrain.bio");
        let config =
            tiny_config().replace("bio-columns", "jsonl").replace(&*movie.to_string_lossy(), "corpus.jsonl");
        insta::assert_snapshot!(name, train_transcript(&place, &config));
    }
}

#[test]
fn a_truncated_backbone_is_named() {
    let place = place();
    let backbone = fixture("backbones/t5-nano");
    for name in ["config.json", "tokenizer.json"] {
        place.write(&format!("t5/{name}"), std::fs::read(backbone.join(name)).unwrap());
    }
    let weights = std::fs::read(backbone.join("model.safetensors")).unwrap();
    place.write("t5/model.safetensors", &weights[..weights.len() / 2]);
    let config = tiny_config().replace(&*backbone.to_string_lossy(), "t5");
    insta::assert_snapshot!(train_transcript(&place, &config));
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let place = place();
    place.write("runs/mine/kept", "");
    insta::assert_snapshot!(place.transcript(place.program("hl-train").args(["--name", "mine", "--quiet"])));
    assert_eq!(std::fs::read_dir(place.path("runs/mine")).unwrap().count(), 1);
}

#[test]
fn exporting_without_a_run_or_an_unknown_task_names_what_is_there() {
    let place = Workplace::new();
    insta::assert_snapshot!("no_run", place.transcript(place.program("hl-export").args(["--task", "mtop"])));
    let run = fixture("runs/nano");
    let mut export = place.program("hl-export");
    export.args(["--task", "mtob", "--run"]).arg(run);
    insta::assert_snapshot!("unknown_task", place.transcript(&mut export));
    assert!(place.files().is_empty());
}

#[test]
fn a_file_that_is_no_tagger_of_ours_is_refused() {
    let place = Workplace::new();
    place.write("noise.onnx", "this is not protobuf");
    let run = |model: &str| place.transcript(place.program("hl-run").args(["--model", model, "a sentence"]));
    insta::assert_snapshot!("missing_model", run("none.onnx"));
    insta::assert_snapshot!("noise_for_a_model", run("noise.onnx"));
}

#[test]
fn bad_lines_on_stdin_are_reported_and_the_rest_is_tagged() {
    let place = Workplace::new();
    let mut export = place.program("hl-export");
    export.args(["--task", "mtop", "--no-verify", "--quiet", "--run"]).arg(fixture("runs/nano"));
    export.assert().success();
    let mut lines = b"set an alarm\n\nbad \xff bytes\n".to_vec();
    lines.extend("word ".repeat(100).into_bytes());
    lines.extend(b"\nremind me\n");
    let mut run = place.program("hl-run");
    run.args(["--model", "mtop.onnx", "--backend", "tract", "--output-format", "jsonl"]).write_stdin(lines);
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let tagged = String::from_utf8(output.stdout).unwrap();
    let records: Vec<serde_json::Value> =
        tagged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<Option<&str>> = records.iter().map(|record| record["text"].as_str()).collect();
    let long = "word ".repeat(100);
    assert_eq!(texts, [Some("set an alarm"), Some(""), None, Some(long.as_str()), Some("remind me")]);
    assert!(records[2]["error"]["place"] == "<stdin>:3", "{}", records[2]);
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}
