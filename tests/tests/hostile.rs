//! Files that block, never end or ask for too much, and places that cannot be written: each is refused before the work, in one
//! error that names it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyperloader_tests::{Workplace, fixture, tiny_config};

/// Far more than any of these calls takes: a call that blocks ends here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Exit code and stderr of a call that must end by itself.
fn ends(place: &Workplace, program: &str, arguments: &[&str]) -> (i32, String) {
    let output = place.program(program).args(arguments).timeout(PATIENCE).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or_else(|| panic!("{program} {arguments:?} was killed: {log}"));
    assert!(!log.contains("panicked"), "{log}");
    (code, log)
}

fn pipe(place: &Workplace, name: &str) -> PathBuf {
    let path = place.path(name);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    place
}

#[test]
fn pipes_and_devices_are_no_configuration_corpus_or_backbone() {
    let place = place();
    pipe(&place, "pipe");
    for path in ["pipe", "/dev/zero"] {
        let what = if path == "pipe" { "a named pipe" } else { "a device" };
        let refused = |arguments: &[&str]| {
            let (code, log) = ends(&place, "hl-train", arguments);
            assert_eq!(code, 1, "{log}");
            assert!(log.contains(&format!("it is {what}, expected a regular file")), "{log}");
            assert!(!place.path("runs").exists());
        };
        refused(&["--quiet", "--config", path]);
        let train = fixture("corpora/mit_movie/engtrain.bio");
        let corpus = tiny_config().replace(&*train.to_string_lossy(), path);
        place.write("corpus.toml", corpus);
        refused(&["--quiet", "--config", "corpus.toml"]);
        for part in ["config.json", "model.safetensors", "tokenizer.json"] {
            let folder = Workplace::new();
            for name in ["config.json", "model.safetensors", "tokenizer.json"] {
                let from = if name == part {
                    absolute(&place, path)
                } else {
                    fixture("backbones/t5-nano").join(name)
                };
                std::os::unix::fs::symlink(from, folder.path(name)).unwrap();
            }
            // Weights that are not a file are missing weights.
            if part != "model.safetensors" {
                refused(&["--quiet", "--backbone", &folder.path("").to_string_lossy()]);
            }
        }
    }
}

fn absolute(place: &Workplace, path: &str) -> PathBuf {
    if Path::new(path).is_absolute() { path.into() } else { place.path(path) }
}

#[test]
fn an_export_replaces_only_regular_files_and_says_so_before_the_work() {
    let place = Workplace::new();
    let run = fixture("runs/nano");
    let export = |output: &str| {
        let run = run.to_string_lossy();
        let arguments = ["--no-verify", "--force", "--task", "mtop", "--run", &run, "--output", output];
        ends(&place, "hl-export", &arguments)
    };
    pipe(&place, "pipe");
    place.write("folder/file", "");
    std::os::unix::fs::symlink("/dev/null", place.path("device")).unwrap();
    std::os::unix::fs::symlink("none", place.path("dangling")).unwrap();
    let before = place.files();
    for (output, reason) in [
        ("pipe", "it is a named pipe, expected a regular file"),
        ("device", "it is a device, expected a regular file"),
        ("folder", "is a directory"),
        ("dangling", "it is a symbolic link to a file that does not exist"),
        ("none/a.onnx", "entity not found"),
        ("folder/file/a.onnx", "Not a directory"),
    ] {
        let (code, log) = export(output);
        assert_eq!(code, 1, "{log}");
        assert!(
            log.starts_with(&format!("error: cannot write `{output}`\n")) && log.contains(reason),
            "{log}"
        );
        assert!(!log.contains("checkpoint of step"), "the run was opened first: {log}");
        assert_eq!(place.files(), before);
    }
    place.write("folder/old.onnx", "old");
    std::os::unix::fs::symlink("folder/old.onnx", place.path("link.onnx")).unwrap();
    let (code, log) = export("link.onnx");
    assert_eq!(code, 0, "{log}");
    assert!(place.path("link.onnx").is_symlink());
    assert!(std::fs::metadata(place.path("folder/old.onnx")).unwrap().len() > 1 << 20);
}

#[test]
fn a_folder_of_runs_that_cannot_be_written_is_named_before_the_work() {
    let place = place();
    place.write("file", "");
    let (code, log) = ends(&place, "hl-train", &["--runs", "file/runs"]);
    assert_eq!(code, 1, "{log}");
    assert!(log.starts_with("error: cannot write to `file/runs`\n"), "{log}");
}

#[test]
fn a_run_is_resumed_by_its_name_in_the_folder_of_runs() {
    let place = place();
    let arguments = ["--quiet", "--threads", "1", "--steps", "1", "--name", "mine", "--runs", "other"];
    assert_eq!(ends(&place, "hl-train", &arguments).0, 0);
    for arguments in [
        &["--quiet", "--threads", "1", "--runs", "other", "--resume", "mine"][..],
        &["--quiet", "--threads", "1", "--resume", "other/mine"],
    ] {
        let (code, log) = ends(&place, "hl-train", arguments);
        assert_eq!(code, 0, "{log}");
    }
    let (code, log) = ends(&place, "hl-train", &["--quiet", "--resume", "mine"]);
    assert!(code == 1 && log.contains("`mine` holds no run"), "{log}");
    place.write("hyperloader.toml", format!("runs = \"other\"\n{}", tiny_config()));
    assert_eq!(ends(&place, "hl-train", &["--quiet", "--threads", "1", "--resume", "mine"]).0, 0);
}

#[test]
fn a_label_that_nobody_wrote_is_refused_with_its_line() {
    let place = Workplace::new();
    let label = "x".repeat(10 << 20);
    let tagged = format!("rosa B-PER\n\nlima B-{label}\n");
    place.write("a.conll", &tagged);
    let spans = format!("{{\"text\": \"rosa\", \"spans\": [[0, 4, \"{label}\"]]}}\n");
    place.write("b.jsonl", spans);
    for (file, line) in [("a.conll", 3), ("b.jsonl", 1)] {
        let config = format!(
            "[backbone]\npath = \"{}\"\n[task.t]\ntrain = \"{file}\"\n",
            fixture("backbones/t5-nano").display()
        );
        place.write("hyperloader.toml", config);
        let (code, log) = ends(&place, "hl-train", &["--quiet"]);
        assert_eq!(code, 1, "{log}");
        let beginning = "x".repeat(40);
        let expected = format!(
            "`{file}`, line {line}: label `{beginning}...` has 10485760 bytes, at most 1000 are allowed"
        );
        assert!(log.contains(&expected) && log.len() < 1000, "{}", &log[..log.len().min(1000)]);
    }
}

#[test]
fn tasks_with_too_many_labels_for_a_drafter_say_so_before_training() {
    let place = Workplace::new();
    let sentences: String = (0..2100).map(|n| format!("word B-l{n}\n\n")).collect();
    place.write("train.conll", sentences);
    place.write("valid.conll", "word B-l1\n\n");
    place.write(
        "hyperloader.toml",
        format!(
            "[backbone]\npath = \"{}\"\n[training]\nsteps = 1\nbatch_size = 1\nmax_source_len = 16\nmax_target_len = 16\n\
             [task.t]\ntrain = \"train.conll\"\nvalid = \"valid.conll\"\ntest = \"valid.conll\"\n",
            fixture("backbones/t5-nano").display()
        ),
    );
    let (code, log) = ends(&place, "hl-train", &["--threads", "1", "--no-progress", "--name", "wide"]);
    assert_eq!(code, 0, "{log}");
    let warning = "task `t` has 2100 labels: no drafter is fitted, which is made for at most 2046";
    let [warned, trained] =
        [warning, "validation loss"].map(|text| log.find(text).unwrap_or_else(|| panic!("{text}: {log}")));
    assert!(warned < trained && !log.contains("drafter fitted"), "{log}");
}
