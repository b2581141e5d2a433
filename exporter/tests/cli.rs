//! The program `hl-export`, run in an empty folder.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use common::random_run;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::MethodConfig;
use serde_json::Value;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a run of tasks `mtop` and `snips`.
    fn with_run() -> Self {
        let place = Self::empty();
        let t5 = T5Config {
            d_model: 32,
            d_kv: 8,
            num_heads: 2,
            d_ff: 32,
            num_layers: 1,
            ..T5Config::preset("t5-nano").unwrap()
        };
        random_run::write(place.0.path(), &t5, &MethodConfig::default(), &["mtop", "snips"]);
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hl-export"));
        command.current_dir(self.0.path()).env("NO_COLOR", "1").args(arguments);
        // Found from the clone's own target folder; tests may be built into another one.
        let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.native/onnxruntime/lib");
        if let Some(library) = fs::read_dir(native).into_iter().flatten().flatten().next() {
            command.env("ORT_DYLIB_PATH", library.path());
        }
        command
    }

    /// Exit code, stdout and stderr.
    fn transcript(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8(bytes).unwrap().trim_end().to_owned());
        format!("exit {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", output.status.code().unwrap())
    }

    fn onnx_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !["backbone", "runs"].contains(&name.as_str()));
        names.sort();
        names
    }
}

#[test]
fn the_help_says_what_the_options_do() {
    insta::assert_snapshot!(Place::empty().transcript(&["--help"]));
}

#[test]
fn an_unfolded_bundle_in_another_precision_is_refused_before_the_run_is_opened() {
    let place = Place::empty();
    let arguments = ["--bundle", "bundle", "--unfolded", "--precision", "int8", "--run", "nowhere"];
    let transcript = place.transcript(&arguments);
    assert!(transcript.starts_with("exit 1\n"), "{transcript}");
    assert!(transcript.contains("a file in int8 cannot have LoRA beside the matrices"), "{transcript}");
    assert!(place.onnx_files().is_empty());
}

#[test]
fn the_task_alone_is_enough() {
    let place = Place::with_run();
    let output = place.command(&["--task", "mtop"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    for rung in ["un-folded vs folded", "folded vs ONNX Runtime", "vs tract"] {
        let line =
            stderr.lines().find(|line| line.contains(rung)).unwrap_or_else(|| panic!("{rung}: {stderr}"));
        assert!(line.ends_with("greedy ids equal in 3 of 3: ok"), "{line}");
    }
    assert_eq!(place.onnx_files(), ["mtop.onnx"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    insta::with_settings!({filters => vec![("sha256 [0-9a-f]{64}", "sha256 [HASH]"), (r"[\d,]+ bytes: ", "[N] bytes: ")]}, {
        insta::assert_snapshot!(stdout);
    });
}

#[test]
fn every_task_is_written_and_described_for_programs() {
    let place = Place::with_run();
    let output = place
        .command(&["--all", "--run", "runs/random", "--quiet", "--output-format", "jsonl"])
        .assert()
        .success()
        .stderr("");
    let stdout = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |field: &str| lines.iter().map(|line| line[field].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("task"), ["mtop", "snips"]);
    assert_eq!(of("file"), ["mtop.onnx", "snips.onnx"]);
    assert_ne!(of("sha256")[0], of("sha256")[1]);
    for line in &lines {
        assert_eq!(line["bytes"], fs::metadata(place.path(line["file"].as_str().unwrap())).unwrap().len());
        assert!(line["ladder"]["rungs"][0]["difference"].as_f64().unwrap() <= 1e-4);
        assert!(line["parameters"].as_u64().unwrap() > 1_000_000);
    }
    assert_eq!(place.onnx_files(), ["mtop.onnx", "snips.onnx"]);
}

#[test]
fn a_file_that_was_not_run_is_announced_as_such() {
    let place = Place::with_run();
    let quiet = place.transcript(&["--task", "mtop", "--no-verify", "--quiet", "-o", "a.onnx"]);
    assert!(
        quiet.ends_with("--- stderr\nwarning: `a.onnx` was not verified, because of `--no-verify`"),
        "{quiet}"
    );
    assert_eq!(place.onnx_files(), ["a.onnx"]);
}

/// Changes one byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn errors_name_the_thing_and_leave_no_file() {
    let mut errors = Vec::new();
    let mut try_in = |place: &Place, arguments: &[&str]| {
        errors.push(format!("$ hl-export {}\n{}", arguments.join(" "), place.transcript(arguments)));
        assert!(place.onnx_files().is_empty());
    };
    let place = Place::empty();
    try_in(&place, &[]);
    try_in(&place, &["--task", "mtop", "--all"]);
    try_in(&place, &["--task", "mtop", "--atol", "0"]);
    try_in(&place, &["--task", "mtop", "--opset", "11"]);
    try_in(&place, &["--task", "mtop"]);
    try_in(&place, &["--task", "mtop", "--run", "nowhere"]);

    let place = Place::with_run();
    try_in(&place, &["--task", "mtopp"]);
    try_in(&place, &["--task", "mtop", "--backbone", "elsewhere"]);
    try_in(&place, &["--task", "mtop", "-o", "no/such/folder/mtop.onnx", "--no-verify"]);
    fs::write(place.path("runs/random/manifest.json"), "{").unwrap();
    try_in(&place, &["--task", "mtop"]);

    let place = Place::with_run();
    damage(&place.path("runs/random/checkpoints/step-000002.safetensors"));
    try_in(&place, &["--task", "mtop"]);

    let place = Place::with_run();
    damage(&place.path("backbone/model.safetensors"));
    try_in(&place, &["--task", "mtop"]);
    let weights = fs::read(place.path("backbone/model.safetensors")).unwrap();
    fs::write(place.path("backbone/model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    try_in(&place, &["--task", "mtop"]);
    fs::remove_file(place.path("backbone/config.json")).unwrap();
    try_in(&place, &["--task", "mtop"]);

    insta::with_settings!({filters => vec![("SHA-256 is [0-9a-f]{64}", "SHA-256 is [HASH]"), ("says [0-9a-f]{64}", "says [HASH]")]}, {
        insta::assert_snapshot!(errors.join("\n\n"));
    });
}
