//! Which run a command takes if none is named, and what `hl-train` prints about the next command.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use hyperloader_tests::{Workplace, tiny_config};

/// Stdout and stderr of a command that must succeed.
fn ok(place: &Workplace, program: &str, arguments: &str) -> (String, String) {
    let output = place.program(program).args(arguments.split_whitespace()).output().unwrap();
    let [out, log] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{program} {arguments}: {log}");
    (out, log)
}

/// A folder with a configuration whose runs are elsewhere.
fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", format!("runs = \"all/runs\"\n{}", tiny_config()));
    place
}

#[test]
fn a_run_of_the_configuration_is_exported_by_the_command_that_its_training_prints() {
    let place = place();
    let (_, log) = ok(&place, "hl-train", "--steps 2 --threads 1 --name first");
    let command = "hl-export --run all/runs/first --task atis";
    assert!(
        log.contains(&format!("`{command}` exports it, `hl-export --run all/runs/first --all` all tasks\n")),
        "{log}"
    );
    let (_, log) =
        ok(&place, "hl-export", &format!("{} --no-verify", command.strip_prefix("hl-export ").unwrap()));
    assert!(!log.contains("newest"), "{log}");
    // Without a name, it is found where the configuration has its runs.
    for (program, arguments) in
        [("hl-export", "--task atis --no-verify --force"), ("hl-train", "report"), ("hl-train", "watch")]
    {
        let (_, log) = ok(&place, program, arguments);
        assert!(log.contains("run `all/runs/first`, the newest\n"), "{program} {arguments}: {log}");
    }
    let (_, log) = ok(&place, "hl-train", "--steps 2 --threads 1 --name second --warm-start first");
    assert!(log.contains("--run all/runs/second"), "{log}");
}

#[test]
fn calibrating_an_older_run_does_not_make_it_the_newest() {
    let place = place();
    for name in ["older", "newer"] {
        ok(&place, "hl-train", &format!("--steps 2 --threads 1 --name {name} --quiet"));
    }
    // An hour between the trainings.
    for file in std::fs::read_dir(place.path("all/runs/older/checkpoints")).unwrap() {
        let file = std::fs::File::options().append(true).open(file.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    ok(&place, "hl-train", "calibrate all/runs/older --threads 1 --quiet");
    let (_, log) = ok(&place, "hl-export", "--task atis --no-verify");
    assert!(log.contains("run `all/runs/newer`, the newest\n"), "{log}");
}

#[test]
fn files_in_place_of_the_corpora_of_the_paper_are_refused_with_the_command_for_them() {
    let place = place();
    place.write("train.jsonl", "");
    for arguments in [&["--data", "train.jsonl"][..], &["corpora", "--data", "train.jsonl"]] {
        let output = place.program("hl-train").args(arguments).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains("hint: `hl-train init --data train.jsonl` writes a configuration"), "{log}");
    }
}

#[test]
fn the_help_of_hl_train_lists_its_options() {
    let place = Workplace::new();
    insta::assert_snapshot!(place.transcript(place.program("hl-train").arg("--help")));
}
