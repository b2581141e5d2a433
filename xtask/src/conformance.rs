//! `cargo xtask conformance`: checks that take long or need programs from outside the workspace.
//!
//! - [`serve`]: `hl-serve` with real clients, in a browser, and under load
//! - [`wheel`]: the Python package
//! - [`clusters`]: its examples for Ray and Spark
//! - [`minilm`]: a real pretrained encoder
//! - [`mpi`]: training on several processes
//! - [`web`]: the module and the page for browsers
//! - [`spans`]: one file, run in every way

mod clusters;
mod minilm;
mod mpi;
mod serve;
mod spans;
mod web;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::commands::{self, cargo, output, root};
use crate::setup;

/// A check of `cargo xtask conformance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// The Python example of the file format finds the spans that `hl-run` finds
    Python,
    /// A crate outside the workspace tags a sentence with the library, and does not build clap
    Library,
    /// The tests of Parquet pass, and pyarrow reads what `hl-run` writes
    Parquet,
    /// Methods on all-MiniLM-L6-v2 are trained, exported in two precisions, and tag the same in both runtimes
    Minilm,
    /// `hl-serve` with real clients, in a browser, and under load
    Serve,
    /// The wheel of the Python package, installed without a compiler, passes its tests and finds the spans that `hl-run` finds
    Wheel,
    /// Ray tags 100,000 sentences with the Python package, also if a worker is killed
    Ray,
    /// Spark tags 100,000 sentences with the Python package, also if a worker is killed
    Spark,
    /// Any number of processes under `mpirun` writes the run of one, also if processes are killed; faults end with one message
    Mpi,
    /// The module in Node and in Chromium finds the spans that `hl-run` finds, and the page of `hl-export --web` works
    Web,
    /// One file run in every way finds the same spans, offsets and scores: a table
    Spans,
}

/// The options of all checks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    serve: serve::Options,
    #[command(flatten)]
    mpi: mpi::Options,
    #[command(flatten)]
    spans: spans::Options,
}

/// Runs `checks`, or all if there are none; the first failure ends it.
pub(crate) fn run(checks: &[Check], options: &Options) -> Result<()> {
    setup::run()?;
    let all = Check::value_variants();
    for check in if checks.is_empty() { all } else { checks } {
        match check {
            Check::Python => python()?,
            Check::Library => library()?,
            Check::Parquet => parquet()?,
            Check::Minilm => minilm::check()?,
            Check::Serve => serve::run(&options.serve)?,
            Check::Wheel => wheel::check()?,
            Check::Ray => clusters::check("ray")?,
            Check::Spark => clusters::check("spark")?,
            Check::Mpi => mpi::check(&options.mpi)?,
            Check::Web => web::check(options.serve.screenshots)?,
            Check::Spans => spans::check(&options.spans)?,
        }
    }
    Ok(())
}

/// Tasks of the committed run, the sentences of their test excerpts, and how many of them are compared.
///
/// The column is that of the sentence in a tab-separated file.
const SENTENCES: [(&str, &str, usize, usize); 3] = [
    ("mtop", "fixtures/corpora/mtop/en/test.txt", 3, 100),
    ("mtod", "fixtures/corpora/mtod/en/test-en.tsv", 2, 50),
    ("snips", "fixtures/corpora/snips/test/seq.in", 0, 50),
];

/// Compares `docs/examples/tag.py` with `hl-run` on 200 sentences of three tasks.
fn python() -> Result<()> {
    // The whole workspace: with the features that the tests use, so that nothing is compiled twice.
    commands::run(cargo().args(["build", "--workspace"]))?;
    let python = environment("python", &root().join("docs/examples/requirements.txt"))?;
    let folder = tempfile::tempdir()?;
    let mut compared = 0;
    for (task, file, column, count) in SENTENCES {
        let model = folder.path().join(format!("{task}.onnx"));
        let mut export = program("hl-export");
        export.args(["--run", "fixtures/runs/nano", "--task", task, "--quiet", "--output"]).arg(&model);
        output(&mut export)?;
        let text = fs::read_to_string(root().join(file)).context(file)?;
        let column = |line: &str| line.split('\t').nth(column).unwrap_or_default().to_owned();
        let sentences: Vec<String> = text.lines().take(count).map(column).collect();
        ensure!(sentences.len() == count && sentences.iter().all(|s| !s.is_empty()), "`{file}` is too short");
        let input = folder.path().join(format!("{task}.txt"));
        fs::write(&input, sentences.join("\n") + "\n")?;

        let ours = tag(
            program("hl-run").args(["--quiet", "--output-format", "jsonl", "--model"]).arg(&model),
            &input,
        )?;
        let theirs = tag(Command::new(&python).arg(root().join("docs/examples/tag.py")).arg(&model), &input)?;
        ensure!(ours.len() == count, "hl-run tagged {} of {count} sentences", ours.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            ensure!(
                text_and_spans(ours) == text_and_spans(theirs),
                "task {task}:\nhl-run {ours}\ntag.py {theirs}"
            );
        }
        ensure!(theirs.len() == count, "tag.py tagged {} of {count} sentences", theirs.len());
        compared += count;
    }
    eprintln!("docs/examples/tag.py finds the spans of hl-run in all {compared} sentences");
    Ok(())
}

/// Crates that only programs need.
const ONLY_PROGRAMS: [&str; 4] = ["clap", "clap_builder", "anstream", "hyperloader-cli"];

/// Builds `tests/outside`, which depends on the library with tract alone, and lets it tag a sentence.
fn library() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("mtop.onnx");
    commands::run(cargo().args(["build", "--workspace"]))?;
    let mut export = program("hl-export");
    output(
        export.args(["--run", "fixtures/runs/nano", "--task", "mtop", "--quiet", "--output"]).arg(&model),
    )?;

    let tree = output(outside("tree")?.args(["--edges", "normal", "--prefix", "none"]))?;
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(names.contains(&"hyperloader-runtime"), "`cargo tree` names no hyperloader-runtime:\n{tree}");
    let found: Vec<&str> = ONLY_PROGRAMS.into_iter().filter(|name| names.contains(name)).collect();
    ensure!(found.is_empty(), "the library depends on {}", found.join(", "));
    let sentence = "set an alarm for 7 am tomorrow";
    let printed = output(outside("run")?.args(["--quiet", "--"]).arg(&model).arg(sentence))?;
    ensure!(printed.lines().next().is_some(), "no span in `{sentence}`");
    eprintln!(
        "{} crates, none of {}; {}",
        names.len(),
        ONLY_PROGRAMS.join(", "),
        printed.trim().replace('\n', "; ")
    );
    Ok(())
}

/// A command of cargo in the crate outside of the workspace.
fn outside(command: &str) -> Result<Command> {
    let manifest = root().join("tests/outside/Cargo.toml");
    // The same versions as in the workspace; cargo removes the entries that this crate does not need.
    fs::copy(root().join("Cargo.lock"), manifest.with_file_name("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    let mut cargo = cargo();
    cargo.args([command, "--manifest-path"]).arg(&manifest);
    cargo.env("CARGO_TARGET_DIR", commands::target().join("outside"));
    Ok(cargo)
}

/// Runs the tests that need the feature `parquet`, and lets pyarrow read a file of tagged sentences.
fn parquet() -> Result<()> {
    // The other features are those of `cargo xtask test`, so that few crates are compiled twice. The tests of command lines
    // need the programs, which are then built.
    let features = ["--workspace", "--features", "hyperloader-core/parquet,hyperloader-runtime/parquet"];
    for tests in
        [&["--lib", "parquet"][..], &["--bin", "hl-run", "--test", "parquet"], &["--no-run", "--test", "cli"]]
    {
        commands::run(cargo().arg("test").args(features).args(tests))?;
    }

    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut export = program("hl-export");
    let run = ["--run", "fixtures/runs/nano", "--task", "mtop", "--quiet", "--output"];
    output(export.args(run).arg(path("mtop.onnx")))?;
    let corpus = fs::read_to_string(root().join(SENTENCES[0].1)).context(SENTENCES[0].1)?;
    let sentences = corpus.lines().take(100).filter_map(|line| line.split('\t').nth(SENTENCES[0].2));
    let lines = sentences.map(|text| serde_json::json!({ "text": text, "id": text.len() }).to_string());
    // A row that cannot be tagged, and one without words.
    let others = ["{}".to_owned(), "{\"text\": \"\"}".to_owned()];
    fs::write(path("sentences.jsonl"), lines.chain(others).collect::<Vec<_>>().join("\n") + "\n")?;
    for name in ["tagged.parquet", "tagged.jsonl"] {
        let mut tag = program("hl-run");
        tag.args(["--quiet", "--scores", "--model"]).arg(path("mtop.onnx"));
        tag.arg("--input").arg(path("sentences.jsonl")).arg("--output").arg(path(name));
        // The row that cannot be tagged makes the exit status 1.
        let status = tag.status().context("cannot run hl-run")?;
        ensure!(status.code() == Some(1), "hl-run ended with {status}");
    }
    let folder = root().join("fixtures/parquet");
    let python = environment("python", &folder.join("requirements.txt"))?;
    let mut check = Command::new(&python);
    check.arg(folder.join("check.py")).args([path("tagged.parquet"), path("tagged.jsonl")]);
    eprintln!("pyarrow reads what hl-run wrote: {}", output(&mut check)?.trim());
    Ok(())
}

/// The sentence and its spans, without fields that only one of the programs writes.
fn text_and_spans(result: &serde_json::Value) -> serde_json::Value {
    let span = |span: &serde_json::Value| {
        serde_json::json!([span["start"], span["end"], span["label"], span["text"]])
    };
    let spans: Vec<_> = result["spans"].as_array().into_iter().flatten().map(span).collect();
    serde_json::json!([result["text"], spans])
}

/// The JSON lines that `command` prints for the sentences in `input`.
fn tag(command: &mut Command, input: &Path) -> Result<Vec<serde_json::Value>> {
    let printed = output(command.stdin(Stdio::from(fs::File::open(input)?)))?;
    printed.lines().map(|line| serde_json::from_str(line).context("not a JSON line")).collect()
}

/// The Python of the virtual environment `name` in `.native/` with the packages of `requirements`.
fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = root().join(".native").join(name);
    let python = folder.join("bin/python3");
    if !python.is_file() {
        commands::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    commands::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    Ok(python)
}

/// Where Debian and others install Chromium.
const BROWSERS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// The Chromium of this machine, if there is one.
fn browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|path| Path::new(path).is_file())
}

/// Builds the programs as `cargo xtask test` does, so that little is compiled twice: tests of command lines need them.
fn programs() -> Result<()> {
    commands::run(cargo().args(["test", "--workspace", "--no-run", "--test", "cli"]))
}

/// A program of the workspace, built without optimization as the tests use it.
fn program(name: &str) -> Command {
    setup::program("debug", name)
}
