//! Trainings that end before their last step, and what is said about those that go on.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyperloader_core::run::Run;
use hyperloader_tests::runs::assert_same;
use hyperloader_tests::{Workplace, binaries, tiny_config};

fn place(change: &str, with: &str) -> Workplace {
    let place = Workplace::new();
    let config = tiny_config();
    assert!(config.contains(change));
    place.write("hyperloader.toml", config.replace(change, with));
    place
}

/// Exit code, stdout and stderr of a training.
fn train(place: &Workplace, arguments: &[&str]) -> (i32, String, String) {
    let mut program = place.program("hl-train");
    let output = program.args(["--threads", "1", "--no-progress"]).args(arguments).output().unwrap();
    let [out, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, log)
}

fn spawn(place: &Workplace, arguments: &[&str]) -> Child {
    let mut program = Command::new(binaries().join("hl-train"));
    program.args(arguments).current_dir(place.path(".")).stdout(Stdio::piped()).stderr(Stdio::null());
    program.spawn().unwrap()
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// What a child printed, and its exit code.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn training_stops_when_its_patience_is_over_also_after_an_interruption() {
    // Nothing is learned, so the first evaluation stays the best.
    let place = place(
        "learning_rate = 1e-3\nevaluate_every = 10",
        "learning_rate = 1e-30\nevaluate_every = 2\npatience = 3",
    );
    let (code, out, log) = train(&place, &["--name", "whole"]);
    assert_eq!(code, 0, "{log}");
    assert!(out.contains("best checkpoint at step 2,"), "{out}");
    assert!(
        log.contains(
            "validation loss has not improved since step 2: training stops at step 8 (`training.patience`)\n"
        ),
        "{log}"
    );
    let manifest = std::fs::read_to_string(place.path("runs/whole/manifest.json")).unwrap();
    assert!(manifest.contains("step-000008.safetensors") && !manifest.contains("step-000010"), "{manifest}");
    let (code, _, log) = train(&place, &["--resume", "runs/whole"]);
    assert!(code == 0 && log.contains("training stops at step 8 (`training.patience`)\n"), "{log}");
    let never = "0.000000001";
    let mut ended = train(&place, &["--name", "cut", "--max-hours", never]).0;
    let mut parts = 1;
    while ended == 130 {
        ended = train(&place, &["--resume", "runs/cut", "--max-hours", never]).0;
        parts += 1;
    }
    assert_eq!((ended, parts), (0, 8));
    // The last two checkpoints differ, because each stop saves one.
    let outcome = |run: &str| {
        let text = std::fs::read_to_string(place.path("runs").join(run).join("outcome.json")).unwrap();
        let mut outcome: serde_json::Value = serde_json::from_str(&text).unwrap();
        for field in ["run", "train_seconds"] {
            outcome.as_object_mut().unwrap().remove(field);
        }
        outcome
    };
    assert_eq!(outcome("cut"), outcome("whole"));
}

#[test]
fn a_training_stops_when_its_hours_are_over_and_goes_on_with_the_same_bytes() {
    let place = place("evaluate_every = 10", "evaluate_every = 10\nsave_every = 3\ndropout = 0.1");
    let start = ["--runs", "cut", "--name", "run"];
    let (code, out, log) = train(&place, &[&start[..], &["--max-hours", "0.000001"]].concat());
    assert_eq!((code, out.as_str()), (130, ""), "{log}");
    assert!(
        log.contains("the limit of `--max-hours` is reached\n") && log.contains("stopped after step 1, "),
        "{log}"
    );
    assert!(log.contains("hint: `hl-train --resume cut/run` continues it\n"), "{log}");
    // An hour is enough.
    let (code, _, log) = train(&place, &["--resume", "cut/run", "--max-hours", "1"]);
    assert!(code == 0 && !log.contains("is reached"), "{log}");
    assert_eq!(train(&place, &["--runs", "whole", "--name", "run"]).0, 0);
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
    for hours in ["0", "-1", "soon", "NaN", "1e300"] {
        let (code, _, log) = train(&place, &[&format!("--max-hours={hours}")]);
        assert!(code == 1 && log.contains("expected a number of hours above 0"), "{log}");
    }
}

#[test]
fn a_finished_run_is_shown_with_its_curves() {
    let place = place("evaluate_every = 10", "evaluate_every = 4");
    train(&place, &["--name", "run"]);
    let (code, shown) = end(spawn(&place, &["watch"]));
    assert_eq!(code, Some(0));
    let evaluations: Vec<&str> = shown.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(evaluations.len(), 5);
    assert!(
        evaluations[0].starts_with("step 4: atis F1 0.") && evaluations[0].contains(", movie F1 "),
        "{shown}"
    );
    assert!(shown.contains("\nrun `run`, step 20 of 20, is finished\n"), "{shown}");
    assert!(shown.contains("\ntraining loss above the smoothing floor\n") && shown.contains(" |"), "{shown}");
    assert!(shown.contains("\n          step 4 to 20\n") && !shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains("\natis: loss ") && shown.contains("\nmovie: loss "), "{shown}");
    let (code, shown) = end(spawn(&place, &["watch", "runs/none"]));
    assert_eq!((code, shown.as_str()), (Some(1), ""));
}

#[test]
fn an_evaluation_is_printed_when_all_tasks_are_logged() {
    let place = place("evaluate_every = 10", "evaluate_every = 4");
    train(&place, &["--name", "run", "--steps", "8"]);
    let run = Run::open(&place.path("runs/run")).unwrap();
    let log = place.path("runs/run/metrics.jsonl");
    let whole = std::fs::read_to_string(&log).unwrap();
    let last = whole.rfind("\"kind\":\"validation\"").unwrap();
    // All lines before that of the last task.
    let begun = &whole[..whole[..last].rfind('\n').unwrap() + 1];
    std::fs::write(&log, begun).unwrap();
    let lock = run.lock().unwrap();
    let followed = spawn(&place, &["watch", "runs/run"]);
    std::thread::sleep(Duration::from_millis(1500));
    std::fs::write(&log, &whole).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    drop(lock);
    let (code, shown) = end(followed);
    assert_eq!(code, Some(0));
    let evaluations: Vec<&str> = shown.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(evaluations.len(), 2, "{shown}");
    let has_all = |line: &&str| line.contains("atis F1 ") && line.contains("movie F1 ");
    assert!(evaluations.iter().all(has_all), "{shown}");
    assert!(shown.contains(", is finished\n"), "{shown}");
}

#[test]
fn names_in_manifests_cannot_control_the_terminal() {
    let place = place("evaluate_every = 10", "evaluate_every = 4");
    train(&place, &["--name", "run", "--steps", "4"]);
    let path = place.path("runs/run/manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, manifest.replace("\"name\": \"run\"", "\"name\": \"run\\u001b[2J\"")).unwrap();
    let (code, shown) = end(spawn(&place, &["watch", "runs/run"]));
    assert!(code == Some(0) && !shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains("run `run\\u{1b}[2J`, step 4 of 4"), "{shown}");
}

#[test]
fn a_run_is_followed_until_it_stops_and_ctrl_c_ends_only_the_view() {
    let place = place("evaluate_every = 10", "evaluate_every = 10");
    let training = spawn(&place, &["--threads", "1", "--name", "run", "--steps", "100000"]);
    let log = place.path("runs/run/metrics.jsonl");
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"validation\"")) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut left = spawn(&place, &["watch", "runs/run"]);
    let followed = spawn(&place, &["watch", "runs/run"]);
    let (mut out, mut shown) = (BufReader::new(left.stdout.take().unwrap()), String::new());
    out.read_line(&mut shown).unwrap();
    interrupt(&left);
    out.read_to_string(&mut shown).unwrap();
    let code = left.wait().unwrap().code();
    assert!(code == Some(130) && shown.starts_with("step 10: ") && !shown.contains("|"), "{code:?}: {shown}");
    interrupt(&training);
    assert_eq!(end(training).0, Some(130));
    let (code, shown) = end(followed);
    assert_eq!(code, Some(0));
    assert!(shown.contains(" is not being trained; `hl-train --resume` continues it\n"), "{shown}");
}
