//! `cargo xtask conformance serve`: `hl-serve` with real clients, in a browser, and under load.
//!
//! - [`server`]: starts the program and speaks HTTP to it
//! - [`load`]: overload, and hours of mixed traffic

mod load;
mod server;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

pub(super) use self::server::Server;
use super::{environment, program, tag};
use crate::commands::{self, cargo, output, root};
use crate::web;

/// How long the checks of `serve` take.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Options of the check `serve`")]
#[group(id = "serve-options")]
pub(crate) struct Options {
    /// Seconds of overload
    #[arg(long, default_value_t = 60, value_name = "N")]
    overload_seconds: u64,
    /// Seconds of mixed traffic
    #[arg(long, default_value_t = 60, value_name = "N")]
    mixed_seconds: u64,
    /// Reloads under load
    #[arg(long, default_value_t = 1000, value_name = "N")]
    reloads: usize,
    /// Rewrite the screenshots in `docs/images`, also those of the check `web`
    #[arg(long)]
    pub(super) screenshots: bool,
}

/// Sentences whose spans are compared.
const COMPARED: usize = 500;

/// Runs all checks of the server; the first failure ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The tests, with more reloads than they do by themselves; this also builds the programs.
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--test", "serve"]);
    commands::run(tests.env("HYPERLOADER_RELOADS", options.reloads.to_string()))?;
    eprintln!("{} reloads under load, and no request failed", options.reloads);

    let folder = tempfile::tempdir()?;
    for task in ["mtop", "snips"] {
        let mut export = program("hl-export");
        export.args(["--run", "fixtures/runs/nano", "--task", task, "--quiet", "--output"]);
        output(export.arg(folder.path().join(format!("{task}.onnx"))))?;
    }
    let sentences = sentences()?;
    {
        let server = Server::start(folder.path(), &["--max-texts", "1000"])?;
        same_spans(&server, folder.path(), &sentences)?;
        clients(&server, folder.path(), &sentences)?;
        page(&server, options.screenshots)?;
        server.stop()?;
    }
    load::overload(folder.path(), &sentences, options.overload_seconds)?;
    load::mixed(folder.path(), &sentences, options.mixed_seconds)
}

/// Sentences of the committed excerpts of mTOP.
fn sentences() -> Result<Vec<String>> {
    let mut sentences = Vec::new();
    for name in ["test", "eval"] {
        let file = format!("fixtures/corpora/mtop/en/{name}.txt");
        let text = fs::read_to_string(root().join(&file)).context(file)?;
        sentences.extend(text.lines().filter_map(|line| line.split('\t').nth(3)).map(str::to_owned));
    }
    sentences.truncate(COMPARED);
    ensure!(sentences.len() == COMPARED, "{} sentences, expected {COMPARED}", sentences.len());
    Ok(sentences)
}

/// Compares the objects of both protocols with the lines of `hl-run`.
fn same_spans(server: &Server, folder: &Path, sentences: &[String]) -> Result<()> {
    let input = folder.join("sentences.txt");
    fs::write(&input, sentences.join("\n") + "\n")?;
    let expected = tag(
        program("hl-run")
            .args(["--quiet", "--output-format", "jsonl", "--model"])
            .arg(folder.join("mtop.onnx")),
        &input,
    )?;
    let spans: usize = expected.iter().filter_map(|line| line["spans"].as_array()).map(Vec::len).sum();
    let answer = server.post("/tag", &json!({"texts": sentences, "model": "mtop", "scores": false}))?;
    ensure!(answer["results"] == json!(expected), "`/tag` answers other objects than hl-run writes");
    // The clients check the binary form.
    let tensor = json!({"name": "text", "shape": [sentences.len()], "datatype": "BYTES", "data": sentences});
    let request = json!({"inputs": [tensor], "parameters": {"scores": false}});
    let answer = server.post("/v2/models/mtop/infer", &request)?;
    let data = answer["outputs"][0]["data"].as_array().context("no data")?;
    let found: Vec<Value> = data
        .iter()
        .map(|object| serde_json::from_str(object.as_str().unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    ensure!(found == expected, "the Open Inference Protocol gives other objects than hl-run writes");
    fs::write(folder.join("expected.json"), serde_json::to_vec(&expected)?)?;
    eprintln!("{} sentences have the {spans} spans of hl-run through both protocols", sentences.len());
    Ok(())
}

/// `tritonclient`, KServe's SDK and curl, unchanged.
fn clients(server: &Server, folder: &Path, sentences: &[String]) -> Result<()> {
    let tests = root().join("server/tests/clients");
    let python = environment("clients", &tests.join("requirements.txt"))?;
    let mut check = Command::new(python);
    check.arg(tests.join("check.py")).arg(server.address()).arg(folder.join("expected.json"));
    eprint!("{}", output(&mut check)?);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--data"]);
    curl.arg(json!({"texts": [sentences[0]], "model": "mtop", "scores": false}).to_string());
    let answer: Value = serde_json::from_str(&output(curl.arg(server.url("/tag")))?)?;
    ensure!(answer["results"][0]["text"] == sentences[0].as_str(), "curl got {answer}");
    eprintln!("curl: the object of the first sentence");
    Ok(())
}

/// The page in headless Chromium, with axe-core.
fn page(server: &Server, screenshots: bool) -> Result<()> {
    let Some(browser) = super::browser() else {
        eprintln!("the page is not checked: there is no Chromium (Debian: `apt-get install chromium`)");
        return Ok(());
    };
    // The tests of the browser build have the same needs.
    web::install()?;
    let mut check = Command::new("node");
    check.arg(root().join("server/tests/page/check.mjs")).arg(browser).arg(server.url("/"));
    if screenshots {
        check.arg(root().join("docs/images").canonicalize()?);
    }
    eprint!("{}", output(&mut check)?);
    Ok(())
}
