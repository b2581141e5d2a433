//! `hl-train corpora`, and the choice of corpora for a training.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, fixture, tiny_config};

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    place
}

/// Copies a fixture's file into the workplace's `data` folder.
fn copy(place: &Workplace, path: &str) {
    place.write(&format!("data/{path}"), std::fs::read(fixture("corpora").join(path)).unwrap());
}

/// ATIS and MIT movie, whole, and a restaurant corpus with a bad line.
fn broken_among_good(place: &Workplace) {
    for split in ["train", "valid", "test"] {
        copy(place, &format!("atis/{split}/seq.in"));
        copy(place, &format!("atis/{split}/seq.out"));
    }
    copy(place, "mit_movie/engtrain.bio");
    copy(place, "mit_movie/engtest.bio");
    copy(place, "mit_restaurant/restauranttest.bio");
    place.write("data/mit_restaurant/restauranttrain.bio", "O\ta\nB-Dish pie\n");
}

fn corpora(place: &Workplace, arguments: &[&str]) -> String {
    place.transcript(place.program("hl-train").arg("corpora").args(arguments))
}

#[test]
fn all_known_corpora_of_a_folder_are_counted() {
    let (data, backbone) = (fixture("corpora"), fixture("backbones/t5-nano"));
    let arguments = ["--data", &data.to_string_lossy(), "--backbone", &backbone.to_string_lossy()];
    insta::assert_snapshot!(corpora(&Workplace::new(), &arguments));
}

#[test]
fn the_tasks_of_a_configuration_are_counted_against_its_limits() {
    let output = place().program("hl-train").args(["corpora", "--output-format", "json"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let counted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fixtures = fixture("").display().to_string();
    let counted = serde_json::to_string_pretty(&counted).unwrap().replace(&fixtures, "FIXTURES/");
    insta::assert_snapshot!(counted);
}

#[test]
fn labels_are_counted_as_the_preset_writes_them() {
    let data = fixture("corpora");
    let labels = |preset: &str| {
        let place = Workplace::new();
        let mut command = place.program("hl-train");
        command.args(["corpora", "--output-format", "json", "--labels", preset, "--data"]).arg(&data);
        let output: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let mtop = output["corpora"].as_array().unwrap().iter().find(|c| c["name"] == "mtop").unwrap();
        mtop["train"]["labels"].as_object().unwrap().keys().next().unwrap().clone()
    };
    assert_eq!(format!("sl:{}", labels("plain")), labels("reference"));
}

#[test]
fn without_a_backbone_lengths_in_tokens_are_left_out_and_said_to_be() {
    let place = Workplace::new();
    broken_among_good(&place);
    std::fs::remove_dir_all(place.path("data/mit_restaurant")).unwrap();
    insta::assert_snapshot!(corpora(&place, &["--data", "data"]));
}

#[test]
fn a_broken_corpus_is_named_and_the_others_are_counted() {
    let place = place();
    broken_among_good(&place);
    insta::assert_snapshot!("broken_text", corpora(&place, &["--data", "data"]));
    let mut command = place.program("hl-train");
    command.args(["corpora", "--data", "data", "--output-format", "json"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let counted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = ["mit_movie", "mit_restaurant", "atis"];
    for (corpus, name) in counted["corpora"].as_array().unwrap().iter().zip(names) {
        assert_eq!(corpus["name"], name);
        assert_eq!(corpus.get("error").is_some(), name == "mit_restaurant");
    }
}

#[test]
fn corpora_that_are_not_there_are_named() {
    let empty = Workplace::new();
    insta::assert_snapshot!("no_data_folder", corpora(&empty, &["--data", "nowhere"]));
    insta::assert_snapshot!("no_configuration", corpora(&empty, &[]));
    insta::assert_snapshot!(
        "no_named_configuration",
        corpora(&empty, &["--config", "none.toml", "--data", "x"])
    );
    let place = place();
    insta::assert_snapshot!("no_backbone", corpora(&place, &["--backbone", "nowhere"]));
}

/// `hl-train` on one step; no run may be left behind.
fn refused(place: &Workplace, arguments: &[&str]) -> String {
    let transcript =
        place.transcript(place.program("hl-train").args(["--steps", "1", "--quiet"]).args(arguments));
    assert!(!place.path("runs").exists(), "{transcript}");
    transcript
}

#[test]
fn a_choice_of_corpora_that_cannot_be_trained_on_is_refused() {
    let place = place();
    broken_among_good(&place);
    for (name, arguments) in [
        ("train_no_data_folder", &["--data", "nowhere"][..]),
        ("train_unknown_task", &["--tasks", "atis,moive"]),
        ("train_unknown_known_corpus", &["--data", "data", "--tasks", "mit_move"]),
        ("train_fraction_0", &["--fraction", "0"]),
        ("train_fraction_2", &["--fraction", "2"]),
        ("train_fraction_word", &["--fraction", "ten"]),
        ("train_fraction_leaves_none", &["--fraction", "0.01"]),
        ("train_broken_corpus", &["--data", "data"]),
    ] {
        insta::assert_snapshot!(name, refused(&place, arguments));
    }
}

#[test]
fn a_training_takes_its_tasks_from_a_folder_and_a_fraction_of_them() {
    let place = place();
    let data = fixture("corpora");
    let mut train = place.program("hl-train");
    train.args([
        "--steps",
        "1",
        "--threads",
        "1",
        "--fraction",
        "0.5",
        "--tasks",
        "mit_movie,atis",
        "--data",
    ]);
    train.arg(&data);
    let output = train.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let tasks: Vec<&str> = log.lines().filter(|line| line.contains(" train, ")).collect();
    insta::assert_snapshot!(tasks.join("\n"));
    // The run's own configuration is enough to start it again.
    let kept = std::fs::read_to_string(place.path("runs/hyperloader-1/config.toml")).unwrap();
    assert!(kept.contains("fraction = 0.5") && kept.contains("[task.mit_movie]"), "{kept}");
    assert!(!kept.contains("[task.movie]"), "{kept}");
}

#[test]
fn the_preset_of_the_paper_brings_its_labels_to_the_corpora_of_a_folder() {
    let place = place();
    let config = tiny_config().replace("[backbone]", "preset = \"hyperloader-paper\"\n[backbone]");
    let legacy_bias = "[backbone]\ncross_attention_relative_bias = false";
    place.write("hyperloader.toml", config.replace("[backbone]", legacy_bias));
    for (name, labels) in [("paper", &[][..]), ("plain", &["--labels", "plain"])] {
        let mut train = place.program("hl-train");
        train.args(["--quiet", "--steps", "1", "--threads", "1", "--tasks", "mit_movie", "--name", name]);
        train.args(labels).arg("--data").arg(fixture("corpora")).assert().success();
        let kept = std::fs::read_to_string(place.path("runs").join(name).join("config.toml")).unwrap();
        let expected = if name == "paper" { "labels = \"reference\"" } else { "labels = \"plain\"" };
        assert!(kept.contains(expected) && kept.contains("absent_gradient = \"decay\""), "{kept}");
    }
}
