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

/// `hl-train` with a changed configuration leaves no run behind.
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
    let texts: Vec<&str> = tagged.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(texts, ["set an alarm", "remind me"]);
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}
