//! A training that is killed and resumed is, byte for byte, the training that was not.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyperloader_tests::runs::assert_same;
use hyperloader_tests::{Workplace, binaries, fixture, tiny_config};
use rand::RngExt;

const STEPS: &str = "40";

/// Dropout on, checkpoints between evaluations, two kept: all that a resumed run could get wrong.
fn place() -> Workplace {
    let place = Workplace::new();
    let config =
        tiny_config().replace("evaluate_every = 10", "evaluate_every = 20\nsave_every = 6\ndropout = 0.1");
    place.write("hyperloader.toml", config);
    place
}

/// How often a run is killed; the whole proof takes `HYPERLOADER_KILLS=7`.
fn kills() -> usize {
    std::env::var("HYPERLOADER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

fn train(place: &Workplace, arguments: &[&str]) -> Child {
    Command::new(binaries().join("hl-train"))
        .args(["--quiet", "--threads", "1"])
        .args(arguments)
        .current_dir(place.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn start(runs: &str) -> [&str; 6] {
    ["--runs", runs, "--name", "run", "--steps", STEPS]
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_that_is_killed_at_random_instants_and_resumed_ends_with_the_same_files() {
    let place = place();
    let began = Instant::now();
    finish(train(&place, &start("whole")));
    let whole = began.elapsed();
    let mut random = rand::rng();
    let mut killed = 0;
    loop {
        // As a user would: a run that was killed before its first checkpoint is started once more.
        let begun = place.path("cut/run/manifest.json").exists();
        let mut child = match begun {
            true => train(&place, &["--resume", "cut/run"]),
            false => train(&place, &start("cut")),
        };
        if killed == kills() {
            finish(child);
            break;
        }
        let after = random.random_range(0.0..0.6) * whole.as_secs_f64();
        std::thread::sleep(Duration::from_secs_f64(after));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
            println!("killed after {after:.2} s of {:.2} s", whole.as_secs_f64());
        }
        let output = child.wait_with_output().unwrap();
        let ended = output.status.code().is_none_or(|code| code == 0);
        assert!(ended, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
}

#[test]
fn interrupted_trainings_save_say_how_to_go_on_and_go_on() {
    interrupt_and_resume("1");
}

#[test]
fn trainings_whose_batches_have_parts_go_on_after_an_interruption() {
    interrupt_and_resume("4");
}

fn interrupt_and_resume(parts: &str) {
    let place = place();
    let start = |runs| [&start(runs)[..], &["--parts", parts]].concat();
    let child = train(&place, &start("cut"));
    let log = place.path("cut/run/metrics.jsonl");
    // Well inside the training.
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"step\":10")) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    let manifest = std::fs::read_to_string(place.path("cut/run/manifest.json")).unwrap();
    finish(train(&place, &["--runs", "cut", "--resume"]));
    let resumed = std::fs::read_to_string(place.path("cut/run/manifest.json")).unwrap();
    assert!(manifest != resumed && resumed.contains("step-000040"), "{resumed}");
    finish(train(&place, &start("whole")));
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
}

#[test]
fn a_second_interrupt_ends_a_training_at_once_and_without_an_error() {
    // The second one meets the program somewhere in a step or an evaluation: several trainings meet several places.
    for run in ["1", "2", "3", "4"] {
        let place = place();
        let child = train(&place, &start(run));
        while !place.path(run).join("run/manifest.json").exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(5));
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(sent.success());
        }
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{log}");
        assert!(!log.contains("error"), "{log}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_is_used() {
    let place = place();
    finish(train(&place, &start("whole")));
    finish(train(&place, &start("cut")));
    place.write("cut/run/checkpoints/step-000040.optimizer.safetensors", "not what it was");
    let mut resumed = place.program("hl-train");
    let output = resumed.args(["--no-progress", "--threads", "1", "--resume", "cut/run"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("step-000040.optimizer.safetensors` is damaged"), "{log}");
    assert!(log.contains("training continues from step 36"), "{log}");
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
}

#[test]
fn a_run_that_is_being_trained_is_left_alone() {
    let place = place();
    let mut child = train(&place, &start("cut"));
    while !place.path("cut/run/manifest.json").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = place.transcript(place.program("hl-train").args(["--quiet", "--resume", "cut/run"]));
    child.kill().unwrap();
    child.wait().unwrap();
    insta::assert_snapshot!("in_use", second);
}

#[test]
fn what_cannot_be_resumed_is_refused_with_the_reason() {
    let place = place();
    finish(train(&place, &["--name", "run", "--steps", "2"]));
    let resume = |run: &str| place.transcript(place.program("hl-train").args(["--quiet", "--resume", run]));
    insta::assert_snapshot!("no_run", resume("runs/none"));
    let config = place.path("runs/run/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("atis/train", "snips/train")).unwrap();
    insta::assert_snapshot!("other_corpus", resume("runs/run"));
    // As many sentences with the same labels, but one word is another.
    let atis = fixture("corpora/atis/train");
    for name in ["seq.in", "seq.out"] {
        let lines = std::fs::read_to_string(atis.join(name)).unwrap();
        place.write(&format!("corpus/{name}"), lines.replacen("flights", "planes", 1));
    }
    let moved = text.lines().map(|line| match line.contains("atis/train") {
        true => "train = \"../../corpus\"",
        false => line,
    });
    std::fs::write(&config, moved.collect::<Vec<_>>().join("\n")).unwrap();
    insta::assert_snapshot!("other_word", resume("runs/run"));
    std::fs::write(&config, text).unwrap();
    for step in ["000000", "000002"] {
        place.write(&format!("runs/run/checkpoints/step-{step}.safetensors"), "damaged");
    }
    // What was trained, and so its hash, depends on the processor.
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[HASH]")]}, {
        insta::assert_snapshot!("all_damaged", resume("runs/run"));
    });
    insta::assert_snapshot!("taken", place.transcript(place.program("hl-train").args(["--name", "run"])));
}
