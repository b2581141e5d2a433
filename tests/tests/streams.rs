//! Corpora that are streamed from disk: what is trained on, killed and resumed trainings, and files that change.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hyperloader_core::run::Run;
use hyperloader_tests::runs::assert_same;
use hyperloader_tests::training::train_until;
use hyperloader_tests::{Workplace, binaries, fixture, tiny_config};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::parallel::Group;
use hyperloader_trainer::train::{End, TrainError, Training, Unobserved};
use rand::RngExt;
use serde_json::{Value, json};

/// The number of sentences of each shard.
const SHARDS: [usize; 4] = [7, 1, 11, 4];

/// The first sentences of the excerpt of SNIPS as JSON Lines.
fn snips() -> Vec<String> {
    let [words, tags] = ["seq.in", "seq.out"].map(|name| {
        let text = std::fs::read_to_string(fixture("corpora/snips/valid").join(name)).unwrap();
        let split = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(split).collect::<Vec<_>>()
    });
    words
        .iter()
        .zip(&tags)
        .map(|(words, tags)| json!({ "tokens": words, "tags": tags }).to_string())
        .collect()
}

/// A folder with shards of `snips`, and a configuration in which this task is streamed or not, next to one in memory.
fn place(stream: bool, more: &str) -> Workplace {
    let place = Workplace::new();
    let lines = snips();
    let mut at = 0;
    for (number, size) in SHARDS.iter().enumerate() {
        place.write(&format!("shards/{number}.jsonl"), lines[at..at + size].join("\n") + "\n");
        at += size;
    }
    place.write("valid.jsonl", lines[at..at + 20].join("\n") + "\n");
    let config = tiny_config().replace("evaluate_every = 10", &format!("evaluate_every = 10\n{more}"));
    let task = format!(
        "\n[task.snips]\ntrain = \"shards/*.jsonl\"\nvalid = \"valid.jsonl\"\ntest = \"valid.jsonl\"\nstream = {stream}\n"
    );
    place.write("hyperloader.toml", config + &task);
    place
}

/// Without dropout, whose generator the tests of a process share.
const SETTINGS: &str = "save_every = 3\ndropout = 0.0\nthreads = 1";

fn config(place: &Workplace, runs: &str, steps: u64) -> Config {
    let mut config = Config::from_file(&place.path("hyperloader.toml")).unwrap();
    (config.training.steps, config.runs, config.name) = (steps, place.path(runs), Some("run".to_owned()));
    config
}

fn until(training: Training, step: u64) -> End {
    train_until(training, step, |_| ()).unwrap()
}

fn resumed(place: &Workplace, runs: &str, steps: u64) -> Result<Training, TrainError> {
    let run = Run::open(&place.path(runs).join("run")).unwrap();
    Training::resume(config(place, runs, steps), run, Group::alone(), &mut Unobserved)
}

fn train(place: &Workplace, runs: &str, steps: u64) {
    until(
        Training::prepare(config(place, runs, steps), None, Group::alone(), &mut Unobserved).unwrap(),
        u64::MAX,
    );
}

fn manifest(run: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(run.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_streamed_training_has_the_examples_and_labels_of_one_in_memory() {
    let t5 = tiny_config();
    let bert = format!(
        "path = \"{}\"\n\n[method]\nmethod = \"unipelt-bert\"\n",
        fixture("backbones/bert-tiny").display()
    );
    let (before, after) = (t5.find("path = ").unwrap(), t5.find("\n[training]").unwrap());
    for backbone in [&t5[before..after], &bert] {
        let run = |stream| {
            let place = place(stream, SETTINGS);
            let text = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
            place.write("hyperloader.toml", text.replace(&t5[before..after], backbone));
            train(&place, "runs", 2);
            let mut tasks = manifest(&place.path("runs/run"))["tasks"].clone();
            // The words of a stream are not kept: its numbers are those of the validation sentences.
            for task in tasks.as_array_mut().unwrap() {
                assert!(task.as_object_mut().unwrap().remove("sentence_words").unwrap()["median"].is_u64());
            }
            tasks
        };
        let (streamed, loaded) = (run(true), run(false));
        assert_eq!(streamed, loaded);
        let snips = streamed.as_array().unwrap().iter().find(|task| task["name"] == "snips").unwrap();
        assert_eq!(snips["train_sentences"], SHARDS.iter().sum::<usize>());
        assert_eq!(snips["train_sha256"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn streamed_trainings_stopped_at_random_steps_go_on_with_the_same_bytes() {
    let steps = 30;
    let place = place(true, SETTINGS);
    train(&place, "whole", steps);
    let mut random = rand::rng();
    for number in 0..3 {
        let runs = format!("cut-{number}");
        // Far enough from the end that the last checkpoints are the same.
        let mut stop = random.random_range(1..20);
        println!("stopped after step {stop}");
        until(
            Training::prepare(config(&place, &runs, steps), None, Group::alone(), &mut Unobserved).unwrap(),
            stop,
        );
        stop = random.random_range(stop + 1..24);
        println!("and after step {stop}");
        let end = until(resumed(&place, &runs, steps).unwrap(), stop);
        assert!(matches!(end, End::Stopped { step, .. } if step == stop), "{end:?}");
        // The store is made again if it is gone.
        std::fs::remove_dir_all(place.path(&runs).join(".streams")).unwrap();
        until(resumed(&place, &runs, steps).unwrap(), u64::MAX);
        assert_same(&place.path("whole/run"), &place.path(&runs).join("run"));
    }
}

#[test]
fn a_streamed_training_that_is_killed_at_random_instants_ends_with_the_same_files() {
    let place = place(true, &SETTINGS.replace("dropout = 0.0", "dropout = 0.1"));
    let start = |arguments: &[&str]| {
        Command::new(binaries().join("hl-train"))
            .args(["--quiet", "--threads", "1"])
            .args(arguments)
            .current_dir(place.path("."))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let fresh = |runs: &'static str| ["--runs", runs, "--name", "run", "--steps", "30"];
    let began = SystemTime::now();
    assert!(start(&fresh("whole")).wait().unwrap().success());
    let whole = began.elapsed().unwrap();
    for _ in 0..3 {
        let begun = place.path("cut/run/manifest.json").exists();
        let mut child = if begun { start(&["--resume", "cut/run"]) } else { start(&fresh("cut")) };
        std::thread::sleep(whole.mul_f64(rand::rng().random_range(0.0..0.6)));
        drop(child.kill());
        child.wait().unwrap();
    }
    let begun = place.path("cut/run/manifest.json").exists();
    let mut last = if begun { start(&["--resume", "cut/run"]) } else { start(&fresh("cut")) };
    assert!(last.wait().unwrap().success());
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
}

#[test]
fn shards_that_change_are_refused_and_shards_that_are_only_touched_are_not() {
    let place = place(true, SETTINGS);
    let begin = |runs: &str| {
        until(Training::prepare(config(&place, runs, 10), None, Group::alone(), &mut Unobserved).unwrap(), 4);
    };
    let shard = place.path("shards/2.jsonl");
    let text = std::fs::read_to_string(&shard).unwrap();
    begin("changed");
    // As long as before, and with the same time.
    let word = text.split('"').nth(3).unwrap();
    let modified = std::fs::metadata(&shard).unwrap().modified().unwrap();
    std::fs::write(&shard, text.replacen(word, &"x".repeat(word.len()), 1)).unwrap();
    std::fs::File::options().write(true).open(&shard).unwrap().set_modified(modified).unwrap();
    let error = resumed(&place, "changed", 10).err().unwrap().to_string();
    assert!(
        error.starts_with("cannot continue run `run`: the corpus of task `snips` has changed"),
        "{error}"
    );
    std::fs::write(&shard, &text).unwrap();
    until(resumed(&place, "changed", 10).unwrap(), u64::MAX);

    let shards = |change: fn(&Path)| {
        change(&place.path("shards"));
        resumed(&place, "changed", 10).err().map(|error| error.to_string())
    };
    assert!(
        shards(|folder| std::fs::rename(folder.join("0.jsonl"), folder.join("9.jsonl")).unwrap()).is_some()
    );
    assert_eq!(
        shards(|folder| std::fs::rename(folder.join("9.jsonl"), folder.join("0.jsonl")).unwrap()),
        None
    );
    assert!(shards(|folder| std::fs::rename(folder.join("3.jsonl"), folder.join("x")).unwrap()).is_some());
    let touched = shards(|folder| {
        std::fs::rename(folder.join("x"), folder.join("3.jsonl")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        std::fs::File::open(folder.join("0.jsonl")).unwrap().set_modified(later).unwrap();
    });
    assert_eq!(touched, None);
}

#[test]
fn a_damaged_store_is_named_and_the_training_goes_on_when_it_is_removed() {
    let place = place(true, SETTINGS);
    until(Training::prepare(config(&place, "runs", 10), None, Group::alone(), &mut Unobserved).unwrap(), 4);
    let store = std::fs::read_dir(place.path("runs/.streams")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&store).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    let mut resume = place.program("hl-train");
    let output = resume.args(["--quiet", "--threads", "1", "--resume", "runs/run"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(".examples` is damaged: block 0\nhint: remove it; "), "{message}");
    std::fs::remove_file(store).unwrap();
    until(resumed(&place, "runs", 10).unwrap(), u64::MAX);
    train(&place, "whole", 10);
    assert_same(&place.path("whole/run"), &place.path("runs/run"));
}

#[test]
fn streams_that_cannot_be_trained_on_are_refused_with_the_reason() {
    let place = place(true, SETTINGS);
    let text = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    let refused = |change: &str, with: &str| {
        assert!(text.contains(change));
        place.write("other.toml", text.replace(change, with));
        place.transcript(place.program("hl-train").args([
            "--quiet",
            "--threads",
            "1",
            "--config",
            "other.toml",
        ]))
    };
    insta::assert_snapshot!("no_validation", refused("valid = \"valid.jsonl\"\n", ""));
    insta::assert_snapshot!("fraction", refused("save_every = 3", "fraction = 0.5"));
    insta::assert_snapshot!("no_match", refused("shards/*.jsonl", "shards/*.conll"));
    insta::assert_snapshot!(
        "two_files",
        refused("\"shards/*.jsonl\"", "\"shards\"\nlayout = \"seq-in-out\"")
    );
    let shard = std::fs::read_to_string(place.path("shards/2.jsonl")).unwrap();
    let bad = |line: &str| {
        place.write("shards/2.jsonl", format!("{shard}{line}\n"));
        refused("save_every", "save_every")
    };
    insta::assert_snapshot!("broken_line", bad("{\"tokens\": [\"a\"], \"tags\": [\"O\", \"O\"]}"));
    insta::assert_snapshot!("bad_label", bad("{\"tokens\": [\"a\"], \"tags\": [\"B-new town\"]}"));
    let left = std::fs::read_dir(place.path("runs/.streams")).unwrap();
    assert_eq!((left.count(), place.path("runs").read_dir().unwrap().count()), (0, 1), "no store and no run");
}

#[test]
fn what_is_streamed_is_reported_once() {
    let place = place(true, SETTINGS);
    let log = |runs: &str| {
        let mut program = place.program("hl-train");
        let output = program
            .args(["--threads", "1", "--steps", "1", "--no-progress", "--name", runs])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let first = log("first");
    assert!(first.contains("task `snips`: counting the sentences of 4 files\n"), "{first}");
    assert!(first.contains("task `snips`: storing 23 sentences as ids\n"), "{first}");
    assert!(first.contains("task `snips`: 23 train (streamed), 20 valid, 20 test sentences, "), "{first}");
    assert_eq!(first.matches("task `snips`: stored in `").count(), 1, "{first}");
    let second = log("second");
    assert!(!second.contains("stor") && second.contains("23 train (streamed)"), "{second}");
    // A name that is taken is refused before the files are read.
    std::fs::remove_dir_all(place.path("runs/.streams")).unwrap();
    let taken = log("second");
    assert!(taken.contains("error: run `runs/second` already exists\n"), "{taken}");
    assert!(!taken.contains("counting") && !place.path("runs/.streams").exists(), "{taken}");
    for command in [&["--resume", "runs/second"][..], &["calibrate", "runs/second"]] {
        let output = place.program("hl-train").args(command).args(["--threads", "1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("`snips`: counting the sentences of 4 files\n"),
            "{said}"
        );
        std::fs::remove_dir_all(place.path("runs/.streams")).unwrap();
    }
}

/// Writes a comparison of two methods on the tasks of the place, `compare.toml`.
fn compare(place: &Workplace, seeds: &str) {
    let text = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    place.write(
        "base.toml",
        text.replace("[method]\nreduction_factor = 8\n\n", "").replace("steps = 20", "steps = 1"),
    );
    place.write(
        "compare.toml",
        format!("base = \"base.toml\"\nout = \"out\"\nmethods = [\"lora\", \"adapters\"]\nfractions = [1.0]\n{seeds}\n"),
    );
}

#[test]
fn the_runs_of_a_comparison_share_a_store() {
    let place = place(true, SETTINGS);
    compare(&place, "seeds = [1, 2]");
    place.program("hl-train").args(["compare", "--quiet", "--threads", "1"]).assert().success();
    let stores = |folder: &str| place.path(folder).read_dir().map_or(0, Iterator::count);
    assert_eq!((stores("out/runs/.streams"), stores("out/runs/lora/1/.streams")), (1, 0));
    // Commands on one of the runs find it.
    let mut again = place.program("hl-train");
    let output = again.args(["calibrate", "out/runs/lora/1/2", "--threads", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("counting"), "{said}");
}

/// Starts `hl-train` and presses Ctrl-C once its log has `line`. Returns its exit code and its log.
fn interrupted_at(line: &str, place: &Workplace, arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = Command::new(binaries().join("hl-train"));
    program.args(arguments).args(["--threads", "1"]).current_dir(place.path("."));
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(line) {
        assert!(log.read_line(&mut said).unwrap() > 0, "it ended before `{line}`: {said}");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    log.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// A place with a shard that takes long to read.
fn large() -> Workplace {
    let place = place(true, SETTINGS);
    let shard = std::fs::read_to_string(place.path("shards/2.jsonl")).unwrap();
    place.write("shards/4.jsonl", shard.repeat(40_000));
    place
}

/// A place with validation sentences that take long to evaluate.
fn slow(stream: bool) -> Workplace {
    let place = place(stream, SETTINGS);
    let text = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    place.write("hyperloader.toml", text.replace("test = \"valid.jsonl\"", "test = \"test.jsonl\""));
    let valid = std::fs::read_to_string(place.path("valid.jsonl")).unwrap();
    place.write("test.jsonl", &valid);
    place.write("valid.jsonl", valid.repeat(50));
    place
}

const STOPPED: &str =
    "stopped while the corpus of task `snips` was read\nhint: the same command reads it again\n";

#[test]
fn ctrl_c_while_a_store_is_written_leaves_no_file() {
    let place = large();
    let (code, said) =
        interrupted_at("sentences as ids", &place, &["--no-progress", "--name", "run", "--steps", "1"]);
    assert!(code == Some(130) && said.contains(STOPPED), "{code:?} {said}");
    assert_eq!(place.path("runs/.streams").read_dir().unwrap().count(), 0);
    assert!(!place.path("runs/run").exists());
}

#[test]
fn ctrl_c_while_a_comparison_reads_is_reported_with_how_to_go_on() {
    let place = large();
    compare(&place, "seeds = [1]");
    let (code, said) = interrupted_at("counting the sentences", &place, &["compare", "--no-progress"]);
    assert!(code == Some(130) && said.contains(STOPPED), "{code:?} {said}");
}

#[test]
fn ctrl_c_ends_a_calibration_that_has_read_a_stream() {
    let place = slow(true);
    train(&place, "runs", 1);
    std::fs::remove_dir_all(place.path("runs/.streams")).unwrap();
    let (code, said) = interrupted_at("task `snips`: stored in", &place, &["calibrate", "runs/run"]);
    assert!(code == Some(130) && !said.contains("scores calibrated"), "{code:?} {said}");
}

#[test]
fn ctrl_c_after_the_last_update_ends_a_training_which_resumes_with_the_same_files() {
    let place = slow(false);
    let arguments = |runs| ["--runs", runs, "--name", "run", "--steps", "2", "--no-progress"];
    let whole = |arguments: &[&str]| {
        place.program("hl-train").args(arguments).args(["--threads", "1"]).assert().success();
    };
    whole(&arguments("whole"));
    let (code, said) = interrupted_at("drafter fitted", &place, &arguments("cut"));
    assert_eq!(code, Some(130), "{said}");
    let note = "stopped after step 2, the run is saved\nhint: `hl-train --resume cut/run` continues it\n";
    assert!(said.ends_with(note) && !place.path("cut/run/outcome.json").exists(), "{said}");
    whole(&["--resume", "cut/run"]);
    assert_same(&place.path("whole/run"), &place.path("cut/run"));
}

#[test]
fn a_folder_that_takes_no_store_is_named_before_the_files_are_read() {
    let place = place(true, SETTINGS);
    // Reading would end here.
    place.write("shards/4.jsonl", "no JSON\n");
    place.write("runs/.streams", "");
    let mut program = place.program("hl-train");
    let output = program.args(["--threads", "1", "--no-progress", "--name", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(".streams`") && !said.contains("counting"), "{said}");
}
