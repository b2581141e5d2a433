//! `hl-train tune`: the search for a learning rate, interrupted and continued, and the run that it returns.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyperloader_tests::runs::assert_same;
use hyperloader_tests::{Workplace, binaries, tiny_config};
use rand::RngExt;

/// Three candidates, so the rungs end after 4, 8 and 16 steps.
const RATES: [&str; 2] = ["--learning-rates", "1e-4,1e-3,1e-2"];

fn place() -> Workplace {
    place_with("evaluate_every = 10", "evaluate_every = 2\ndropout = 0.1")
}

/// A place whose configuration has 16 steps and no warm-up.
fn place_with(change: &str, with: &str) -> Workplace {
    let place = Workplace::new();
    let config =
        tiny_config().replace("steps = 20", "steps = 16").replace("warmup_steps = 5", "warmup_steps = 0");
    assert!(config.contains(change));
    place.write("hyperloader.toml", config.replace(change, with));
    place
}

fn tune(place: &Workplace, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = place.program("hl-train");
    command.args(["tune", "--threads", "1", "--no-progress"]).args(arguments);
    command
}

/// Exit code, stdout and stderr.
fn end(command: &mut assert_cmd::Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let [out, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, log)
}

fn start(place: &Workplace) -> Child {
    Command::new(binaries().join("hl-train"))
        .args(["tune", "--threads", "1", "--quiet"])
        .args(RATES)
        .current_dir(place.path("."))
        .env("OMP_WAIT_POLICY", "passive")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The learning rate that a text output names as the best.
fn best(out: &str) -> &str {
    let line = out.lines().find_map(|line| line.strip_prefix("best learning rate: "));
    line.unwrap_or_else(|| panic!("{out}"))
}

/// How often a search is killed.
fn kills() -> usize {
    std::env::var("HYPERLOADER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// Trains with one learning rate alone, in a folder as deep as that of the search.
fn train_alone(place: &Workplace, rate: &str) -> std::path::PathBuf {
    let mut train = place.program("hl-train");
    train.args([
        "--quiet",
        "--threads",
        "1",
        "--runs",
        "runs/alone",
        "--name",
        rate,
        "--learning-rate",
        rate,
    ]);
    train.assert().success();
    place.path("runs/alone").join(rate)
}

#[test]
fn a_search_that_is_killed_and_continued_ends_with_the_same_table_and_the_run_of_a_plain_training() {
    let whole = place();
    let began = Instant::now();
    let (code, out, log) = end(&mut tune(&whole, &RATES));
    let time = began.elapsed();
    assert_eq!(code, 0, "{log}");
    // Three candidates, then two, then one.
    let steps = |steps: &str| out.lines().filter(|line| line.contains(&format!("| {steps:>5} |"))).count();
    assert_eq!(["4", "8", "16"].map(steps), [3, 2, 1], "{out}");
    assert!(log.contains("rung 1 of 3, to step 4: learning rate 1e-4 (1 of 3)"), "{log}");
    assert!(log.contains("resumed after step 4"), "{log}");

    let cut = place();
    let mut random = rand::rng();
    let mut killed = 0;
    while killed < kills() {
        let mut child = start(&cut);
        std::thread::sleep(Duration::from_secs_f64(random.random_range(0.0..0.6) * time.as_secs_f64()));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        killed += 1;
        let output = child.wait_with_output().unwrap();
        let ended = output.status.code().is_none_or(|code| code == 0);
        assert!(ended, "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (code, continued, log) = end(&mut tune(&cut, &RATES));
    assert_eq!((code, &continued), (0, &out), "{log}");

    let rate = best(&out);
    let alone = train_alone(&whole, rate);
    for place in [&whole, &cut] {
        assert_same(&alone, &place.path("runs/tune").join(rate));
    }
    assert!(whole.path("runs/tune").join(rate).join("report.html").exists());

    // A search that is over trains nothing and prints its table again.
    let (code, again, log) = end(&mut tune(&whole, &RATES));
    assert_eq!((code, again), (0, out));
    assert!(!log.contains("rung"), "{log}");
}

#[test]
fn an_interrupted_search_says_how_to_go_on() {
    let place = place();
    let mut child = start(&place);
    // Inside the second candidate.
    while !place.path("runs/tune/1e-3/manifest.json").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    let (code, out, log) = end(&mut tune(&place, &RATES));
    assert_eq!(code, 0, "{log}");
    assert!(
        !log.contains("learning rate 1e-4 (1 of 3)") && log.contains("learning rate 1e-3 (2 of 3)"),
        "{log}"
    );
    assert!(out.contains(" best |"), "{out}");
}

#[test]
fn a_learning_rate_that_diverges_is_out_and_without_another_one_the_search_fails() {
    let place = place();
    let (code, out, log) = end(&mut tune(&place, &["--learning-rates", "1e30,1e-3"]));
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("warning: learning rate 1e30 is out: ") && log.contains(" at step "), "{log}");
    assert!(out.contains("| diverged |") && best(&out) == "1e-3", "{out}");

    let wild = ["--learning-rates", "1e30,2e30", "--name", "wild"];
    let (code, out, log) = end(&mut tune(&place, &wild));
    assert_eq!((code, out.matches("| diverged |").count()), (1, 2), "{out}{log}");
    let error = "error: no learning rate is left: `1e30`, `2e30` diverged by step 8\n\
                 hint: lower `--learning-rates` may help, such as 1e29, under another `--name`\n";
    assert!(log.ends_with(error), "{log}");
    let (code, again, _) = end(&mut tune(&place, &wild));
    assert_eq!((code, again), (1, out));
}

#[test]
fn a_candidate_that_ran_out_of_patience_is_measured_where_it_ended() {
    let place = place_with("evaluate_every = 10", "evaluate_every = 2\npatience = 1");
    let rates = ["--learning-rates", "1e-30,2e-30", "--output-format", "json"];
    let (code, out, log) = end(&mut tune(&place, &rates));
    assert_eq!(code, 0, "{log}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rungs = report["rungs"].as_array().unwrap();
    assert_eq!([&rungs[0]["steps"], &rungs[1]["steps"]], [8, 16]);
    // Nothing is learned, so the candidates are equal, and the first one is kept.
    assert_eq!(rungs[0]["candidates"][0]["step"], 2);
    assert_eq!([0, 1].map(|at| rungs[0]["candidates"][at]["verdict"].as_str().unwrap()), ["kept", "out"]);
    assert_eq!(report["best"]["run"], "runs/tune/1e-30");
    assert_eq!(report["best"]["config"], "runs/tune/1e-30/config.toml");
    assert_same(&train_alone(&place, "1e-30"), &place.path("runs/tune/1e-30"));
}

#[test]
fn settings_that_make_a_search_useless_are_warned_of() {
    let place = place_with("evaluate_every = 10", "evaluate_every = 10");
    let search = |more: &[&str]| {
        let rates = ["--learning-rates", "1e-30,2e-30", "--steps", "2", "--tasks", "atis"];
        end(&mut tune(&place, &[&rates[..], more].concat())).2
    };
    let log = search(&["--name", "whole"]);
    assert!(
        log.contains("warning: all candidates are trained to step 2, because nothing is measured before"),
        "{log}"
    );
    let config = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    place.write("hyperloader.toml", config.replace("warmup_steps = 0", "warmup_steps = 1"));
    let log = search(&["--name", "warm", "--evaluate-every", "1"]);
    assert!(
        log.contains("warning: the first rung ends at step 1, before the learning rates have reached"),
        "{log}"
    );
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_would_do() {
    for (name, arguments) in [
        ("no_rate", &["--learning-rates", ""][..]),
        ("one_rate", &["--learning-rates", "1e-3"]),
        ("negative_rate", &["--learning-rates", "1e-3,-1e-3"]),
        ("negative_rate_first", &["--learning-rates", "-0.001,0.1"]),
        ("rate_0", &["--learning-rates", "0,1e-3"]),
        ("rate_without_end", &["--learning-rates", "1e-3,inf"]),
        ("rate_twice", &["--learning-rates", "1e-3,0.001"]),
        ("rate_of_text", &["--learning-rates", "1e-3,high"]),
        ("eta", &["--eta", "1"]),
        ("name", &["--name", "../elsewhere"]),
        ("task", &["--tasks", "atsi"]),
        ("steps", &["--steps", "0"]),
        ("learning_rate", &["--learning-rate", "1e-3"]),
        ("configuration", &["--config", "none.toml"]),
        ("method", &["--method-option", "reduction_factor=5"]),
    ] {
        let place = place();
        let transcript = place.transcript(&mut tune(&place, arguments));
        assert!(transcript.starts_with("exit: 1\n") && !place.path("runs").exists(), "{transcript}");
        insta::assert_snapshot!(name, transcript);
    }
}

#[test]
fn the_folder_of_another_search_is_refused_with_both_sides() {
    let place = place();
    let rates = ["--quiet", "--learning-rates", "1e-4,1e-3", "--steps", "2", "--tasks", "atis"];
    tune(&place, &rates).assert().success();
    let refused = |more: &[&str]| place.transcript(&mut tune(&place, &[&rates[..], more].concat()));
    insta::assert_snapshot!("other_batch_size", refused(&["--batch-size", "3"]));
    insta::assert_snapshot!("other_seed", refused(&["--seed", "7"]));
    insta::assert_snapshot!("other_eta", refused(&["--eta", "3"]));
    let other = ["--quiet", "--learning-rates", "1e-4,1e-2", "--steps", "2", "--tasks", "atis"];
    insta::assert_snapshot!("other_rates", place.transcript(&mut tune(&place, &other)));
    let state = std::fs::read_to_string(place.path("runs/tune/tune.toml")).unwrap();
    place.write("runs/tune/tune.toml", state.replace("format = 1", "format = 2"));
    insta::assert_snapshot!("other_format", refused(&[]));
    place.write("runs/tune/tune.toml", &state[..state.len() / 2]);
    assert!(refused(&[]).contains("error: `runs/tune/tune.toml`: TOML parse error at line "));
    place.write("runs/mine/notes", "");
    insta::assert_snapshot!("no_search", refused(&["--name", "mine"]));
}

#[test]
fn the_help_of_tune_lists_its_options() {
    insta::assert_snapshot!(place().transcript(place().program("hl-train").args(["tune", "--help"])));
}
