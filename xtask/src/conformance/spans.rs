//! One file, run in every way that there is: the spans, their offsets and their scores have to be those of `hl-run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::serve::Server;
use super::{browser, outside, program, programs, tag, text_and_spans, wheel};
use crate::commands::{output, root};
use crate::web;

/// Units of offsets.
const UNITS: [&str; 3] = ["chars", "bytes", "utf16"];

/// What is between the sentences of a long text.
const SEPARATORS: [&str; 6] = [" ", ". ", "\n", ", ", "! ", " . "];

/// The largest difference of two scores.
const TOLERANCE: f64 = 1e-3;

/// A way to run a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// `hl-run` with ONNX Runtime, which all others are compared with
    HlRun,
    /// `hl-run --backend tract`
    Tract,
    /// A crate outside of the workspace that depends on the library, with tract
    Library,
    /// `POST /tag` of `hl-serve`
    Serve,
    /// The Open Inference Protocol of `hl-serve`
    ServeV2,
    /// The Python package
    Python,
    /// The Python package in actors of Ray Data
    Ray,
    /// The Python package in `mapInArrow` of Spark
    Spark,
    /// The module of npm in Node
    Node,
    /// The module of npm in headless Chromium
    Chromium,
}

/// Which rows the check `spans` has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of the check `spans`")]
#[group(id = "spans-options")]
pub(crate) struct Options {
    /// Compare only these ways to run a file
    #[arg(long = "row", value_enum, value_name = "ROW")]
    rows: Vec<Row>,
}

/// For each text what was found in it, by unit of offsets.
type Found = Map<String, Value>;

/// What every row has: the file and the texts.
struct Place {
    folder: tempfile::TempDir,
    texts: Vec<String>,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("mtop.onnx")
    }

    /// The texts, as a JSON list.
    fn texts_file(&self) -> PathBuf {
        self.path("texts.json")
    }
}

/// Prints a table of all rows as Markdown. A row that differs is an error, after the table.
pub(super) fn check(options: &Options) -> Result<()> {
    programs()?;
    let place = Place { folder: tempfile::tempdir()?, texts: texts()? };
    wheel::export("mtop", &place.model())?;
    fs::write(place.texts_file(), json!(place.texts).to_string())?;
    let expected = of_hl_run(&place.model(), &place.texts, &[])?;
    let spans = spans_of(&expected).count();
    ensure!(spans > 0, "hl-run found no span");

    println!("| run by | texts | with the same spans | spans | offsets | scores of | largest difference |");
    println!("|---|---|---|---|---|---|---|");
    let mut differing = Vec::new();
    let all = Row::value_variants();
    for row in if options.rows.is_empty() { all } else { &options.rows } {
        let found = match find(*row, &place, &expected) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => return Err(error.context(format!("the row `{}`", name(*row)))),
        };
        // Arrow tables have no scores of tags.
        let of_tags = !matches!(row, Row::Ray | Row::Spark);
        let (equal, worst) = compare(&found, &expected, place.texts.len(), of_tags)?;
        println!(
            "| {} | {} | {equal} | {} | {} | {} | {worst:.1e} |",
            name(*row),
            place.texts.len(),
            spans_of(&found).count(),
            UNITS.join(", "),
            if of_tags { "texts, spans, tags" } else { "texts, spans" },
        );
        if equal != place.texts.len() || worst > TOLERANCE {
            differing.push(name(*row));
        }
    }
    ensure!(differing.is_empty(), "not the spans and scores of hl-run: {}", differing.join(", "));
    Ok(())
}

fn name(row: Row) -> String {
    row.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a row finds; nothing, with a message, if this machine lacks what it needs.
fn find(row: Row, place: &Place, expected: &Found) -> Result<Option<Found>> {
    let missing = |what: &str| {
        eprintln!("`{}` is left out: there is no {what}", name(row));
        Ok(None)
    };
    let python = |requirements: &str| {
        let mut command = Command::new(wheel::install(&wheel::build()?, requirements)?);
        command.arg(root().join("python/conformance/spans.py")).arg(name(row));
        printed(command.arg(place.model()).arg(place.texts_file()))
    };
    let found = match row {
        Row::HlRun => Ok(expected.clone()),
        Row::Tract => of_hl_run(&place.model(), &place.texts, &["--backend", "tract"]),
        Row::Library => {
            let mut command = outside("run")?;
            command.args(["--quiet", "--bin", "spans", "--"]);
            printed(command.arg(place.model()).arg(place.texts_file()))
        }
        Row::Serve => served(place, false),
        Row::ServeV2 => served(place, true),
        Row::Python => python("wheel"),
        Row::Ray => python("ray"),
        Row::Spark if !exists("java") => {
            return missing("Java (Debian: `apt-get install openjdk-17-jre-headless`)");
        }
        Row::Spark => python("spark"),
        Row::Node | Row::Chromium if !exists("node") || !exists("npm") => return missing("Node with npm"),
        Row::Node => in_javascript(place, None),
        Row::Chromium => match browser() {
            Some(browser) => in_javascript(place, Some(browser)),
            None => return missing("Chromium (Debian: `apt-get install chromium`)"),
        },
    };
    found.map(Some)
}

fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success())
}

/// The JSON in the last line that a program prints. Ray prints the progress of long runs before it.
fn printed(command: &mut Command) -> Result<Found> {
    let printed = output(command)?;
    let last = printed.lines().last().context("the program printed nothing")?;
    serde_json::from_str(last).context("the last line is no JSON")
}

/// What the server answers.
fn served(place: &Place, v2: bool) -> Result<Found> {
    let models = place.path("served");
    fs::create_dir_all(&models)?;
    fs::copy(place.model(), models.join("mtop.onnx"))?;
    let server = Server::start(&models, &["--max-texts", "1000"])?;
    let mut found = Found::new();
    for unit in UNITS {
        let objects = if v2 {
            let tensor = json!({"name": "text", "shape": [place.texts.len()], "datatype": "BYTES", "data": place.texts});
            let parameters = json!({"offsets": unit, "scores": true});
            let request = json!({"inputs": [tensor], "parameters": parameters});
            let answer = server.post("/v2/models/mtop/infer", &request)?;
            let data = answer["outputs"][0]["data"].as_array().context("no data")?;
            data.iter().map(|object| Ok(serde_json::from_str(object.as_str().context("no text")?)?)).collect()
        } else {
            let request = json!({"texts": place.texts, "offsets": unit, "scores": true});
            let answer = server.post("/tag", &request)?;
            answer["results"].as_array().context("no results").cloned()
        };
        found.insert(unit.to_owned(), Value::Array(objects?));
    }
    server.stop()?;
    Ok(found)
}

/// What the module of npm finds in Node, or in a browser.
fn in_javascript(place: &Place, browser: Option<&str>) -> Result<Found> {
    web::run()?;
    let site = place.path("site");
    let mut export = program("hl-export");
    export.args(["--run", "fixtures/runs/nano", "--task", "mtop", "--precision", "f32", "--quiet"]);
    output(export.args(["--force", "--web"]).arg(&site))?;
    let mut command = Command::new("node");
    command.arg(root().join("web/conformance/spans.js")).arg(site).arg(place.texts_file());
    printed(command.args(browser))
}

/// The number of texts whose spans are equal in all units, and the largest difference of a score.
fn compare(found: &Found, expected: &Found, count: usize, of_tags: bool) -> Result<(usize, f64)> {
    let mut equal = vec![true; count];
    let mut worst = 0.0_f64;
    for unit in UNITS {
        let (ours, theirs) = (objects(found, unit), objects(expected, unit));
        ensure!(ours.len() == count && theirs.len() == count, "{} of {count} texts in {unit}", ours.len());
        for ((ours, theirs), equal) in ours.iter().zip(theirs).zip(&mut equal) {
            if text_and_spans(ours) != text_and_spans(theirs) {
                eprintln!("{unit}: {ours}\nhl-run: {theirs}");
                *equal = false;
                continue;
            }
            let (ours, theirs) = (scores(ours, of_tags)?, scores(theirs, of_tags)?);
            ensure!(ours.len() == theirs.len(), "{} scores, hl-run has {}", ours.len(), theirs.len());
            worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(worst, f64::max);
        }
    }
    Ok((equal.iter().filter(|equal| **equal).count(), worst))
}

fn objects<'a>(found: &'a Found, unit: &str) -> &'a [Value] {
    found.get(unit).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn spans_of(found: &Found) -> impl Iterator<Item = &Value> {
    objects(found, UNITS[0]).iter().filter_map(|object| object["spans"].as_array()).flatten()
}

/// The scores of a text: its own, those of its spans and, if `of_tags`, those of its tags.
///
/// # Errors
/// If one is missing.
fn scores(object: &Value, of_tags: bool) -> Result<Vec<f64>> {
    let list = |name: &str| object[name].as_array().with_context(|| format!("no `{name}`: {object}"));
    let mut scored = vec![object];
    scored.extend(list("spans")?);
    if of_tags {
        scored.extend(list("tag_scores")?);
    }
    let score = |scored: &Value| scored["score"].as_f64().with_context(|| format!("no score: {scored}"));
    scored.into_iter().map(score).collect()
}

/// 500 sentences, of which 100 have unusual Unicode, and long texts of twenty of them each.
pub(super) fn texts() -> Result<Vec<String>> {
    let mut python = Command::new("python3");
    python.args(["-B", "-c", "import json, sentences; print(json.dumps(sentences.texts()))"]);
    let printed = output(python.current_dir(root().join("python/conformance")))?;
    let mut texts: Vec<String> = serde_json::from_str(&printed)?;
    ensure!(texts.len() == 500, "{} sentences, expected 500", texts.len());
    let long = SEPARATORS.iter().zip(texts.chunks(20)).map(|(separator, texts)| texts.join(separator));
    let long: Vec<String> = long.collect();
    eprintln!("{} sentences and {} long texts", texts.len(), long.len());
    texts.extend(long);
    Ok(texts)
}

/// What hl-run writes for each text, by unit of offsets.
pub(super) fn of_hl_run(model: &Path, texts: &[String], options: &[&str]) -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("texts.jsonl");
    // Records are JSON: a text may hold line ends.
    let lines: Vec<String> = texts.iter().map(|text| json!({ "text": text }).to_string()).collect();
    fs::write(&input, lines.join("\n") + "\n")?;
    let mut found = Found::new();
    for unit in UNITS {
        let mut run = program("hl-run");
        run.args(["--quiet", "--scores", "--offsets", unit, "--input", "-", "--input-format", "jsonl"]);
        run.args(["--output-format", "jsonl", "--model"]).arg(model).args(options);
        found.insert(unit.to_owned(), tag(&mut run, &input)?.into());
    }
    Ok(found)
}
