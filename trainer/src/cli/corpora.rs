//! `hl-train corpora`.
#![allow(clippy::print_stderr)] // Notes and errors go to stderr.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, Table};
use hyperloader_core::backbone::TOKENIZER;
use hyperloader_core::corpus::stats::Percentiles;
use hyperloader_core::corpus::{CorpusSpec, FileReport, known};
use hyperloader_core::text::sentt::SentT;

use super::{LabelsArgument, OutputFormat};
use crate::config::{BackboneConfig, Config};
use crate::corpora::{Corpora, CorpusNumbers, Limits, SplitLengths};
use crate::hub::Hub;

/// The configuration that is used where none is named.
const DEFAULT_CONFIG: &str = "hyperloader.toml";

#[derive(Debug, Args)]
pub(super) struct CorporaArguments {
    /// Configuration whose tasks and limits are used [default: hyperloader.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Count the paper's corpora in this folder, in place of the configuration's tasks
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which labels are counted [default: as configured, `plain` with `--data`]
    #[arg(long, value_name = "PRESET")]
    labels: Option<LabelsArgument>,
    /// Pretrained T5 whose tokenizer gives the lengths in tokens [default: the configuration's]
    #[arg(long, value_name = "DIR|ID")]
    backbone: Option<String>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
}

pub(super) fn run(arguments: &CorporaArguments) -> Result<ExitCode> {
    let mut config = configuration(arguments)?;
    let specs = specs(arguments, config.as_ref())?;
    if let Some(config) = &mut config {
        config.tasks = specs.iter().cloned().collect();
        config.validate()?;
    }
    let codec = codec(arguments, config.as_ref())?;
    let training = config.map(|config| config.training).unwrap_or_default();
    let corpora = Corpora::count(specs, codec.as_ref(), &training);
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&corpora)?),
        OutputFormat::Text => println!("{}", text(&corpora)),
    }
    let mut code = ExitCode::SUCCESS;
    for (name, error) in corpora.failed() {
        eprintln!("hl-train: error: corpus `{name}`: {error}");
        code = ExitCode::from(1);
    }
    Ok(code)
}

/// With `--data`, no configuration is needed.
fn configuration(arguments: &CorporaArguments) -> Result<Option<Config>> {
    let path = match (&arguments.config, &arguments.data) {
        (Some(path), _) => path,
        (None, Some(_)) if !Path::new(DEFAULT_CONFIG).exists() => return Ok(None),
        (None, _) => Path::new(DEFAULT_CONFIG),
    };
    Ok(Some(Config::from_file(path)?))
}

fn specs(arguments: &CorporaArguments, config: Option<&Config>) -> Result<Vec<(String, CorpusSpec)>> {
    let mut specs = match &arguments.data {
        Some(folder) => known::in_folder(folder)?,
        None => config.map(|config| config.tasks.clone().into_iter().collect()).unwrap_or_default(),
    };
    if let Some(labels) = arguments.labels {
        specs.iter_mut().for_each(|(_, spec)| spec.labels = labels.into());
    }
    Ok(specs)
}

/// The tokenizer. The paper's corpora and a configuration's model that is not at hand can do without, but not in silence.
fn codec(arguments: &CorporaArguments, config: Option<&Config>) -> Result<Option<SentT>> {
    if let Some(typed) = &arguments.backbone {
        let mut backbone = BackboneConfig { path: None, id: None, cross_attention_relative_bias: false };
        backbone.choose(typed)?;
        let folder = at_hand(&backbone).with_context(|| {
            format!("`{typed}` is no folder, and no model of that id is in the cache\nhint: give a folder with `{TOKENIZER}`, or let a training fetch the model")
        })?;
        return Ok(Some(SentT::from_file(folder.join(TOKENIZER))?));
    }
    let tokenizer = config.and_then(|config| at_hand(&config.backbone)).map(|folder| folder.join(TOKENIZER));
    if let Some(path) = tokenizer.filter(|path| arguments.data.is_none() || path.exists()) {
        return Ok(Some(SentT::from_file(path)?));
    }
    eprintln!("no backbone at hand: lengths in tokens are left out\nhint: name one with `--backbone`");
    Ok(None)
}

/// The folder of a backbone. A model of the hub must be in the cache: lengths are not worth a download.
fn at_hand(backbone: &BackboneConfig) -> Option<PathBuf> {
    match &backbone.id {
        None => backbone.path.clone(),
        Some(id) => {
            let cache = Hub { offline: true, ..Hub::from_env().ok()? };
            Some(cache.fetch(id, &mut |_| ()).ok()?.folder)
        }
    }
}

fn text(corpora: &Corpora) -> String {
    let mut parts = vec![sizes(corpora).to_string(), subsets(corpora).to_string()];
    for (name, numbers) in corpora.counted() {
        parts.push(format!("{name}, layout `{}`\n{}", numbers.layout, splits(numbers, corpora.limits)));
        parts.push(labels(numbers));
        parts.extend(reading(numbers));
    }
    parts.join("\n\n")
}

/// The paper's Table 2.
fn sizes(corpora: &Corpora) -> Table {
    let mut table = table(&["corpus", "train", "valid", "test", "labels"]);
    let mut sums = [0; 3];
    for corpus in &corpora.corpora {
        let Ok(numbers) = &corpus.result else {
            add_row(&mut table, &corpus.name, ["-"; 4]);
            continue;
        };
        let sentences = numbers.splits().map(|split| split.sentences);
        (0..3).for_each(|split| sums[split] += sentences[split]);
        add_row(&mut table, &corpus.name, sentences.into_iter().chain([numbers.stats.labels().len()]));
    }
    add_row(&mut table, "all", sums.map(|sum| sum.to_string()).into_iter().chain([String::new()]));
    table
}

fn subsets(corpora: &Corpora) -> Table {
    let fractions = corpora.counted().next().map(|(_, numbers)| numbers.subsets.clone()).unwrap_or_default();
    let shares: Vec<String> = fractions
        .iter()
        .flat_map(|subset| {
            let share = format!("{:.0} %", 100.0 * subset.fraction);
            [format!("{share} train"), format!("{share} valid")]
        })
        .collect();
    let header: Vec<&str> = std::iter::once("subsets").chain(shares.iter().map(String::as_str)).collect();
    let mut table = table(&header);
    let mut sums = vec![0; shares.len()];
    for (name, numbers) in corpora.counted() {
        let row: Vec<usize> =
            numbers.subsets.iter().flat_map(|subset| [subset.train, subset.valid]).collect();
        sums.iter_mut().zip(&row).for_each(|(sum, count)| *sum += count);
        add_row(&mut table, name, row);
    }
    add_row(&mut table, "all", sums);
    table
}

/// What each split of a corpus holds, but for its labels.
fn splits(numbers: &CorpusNumbers, limits: Limits) -> Table {
    let mut table = table(&["", "train", "valid", "test"]);
    let stats = numbers.splits();
    add_row(&mut table, "sentences", stats.map(|split| split.sentences));
    add_row(&mut table, "duplicates of earlier sentences", stats.map(|split| split.duplicates));
    let overlap = numbers.stats.test_in_train.to_string();
    add_row(&mut table, "also in train", ["", "", &overlap]);
    add_row(&mut table, "ill-formed tags", stats.map(|split| split.ill_formed_tags));
    add_row(&mut table, "words", stats.map(|split| split.words));
    add_row(&mut table, "words p50 p90 p99 max", stats.map(|split| percentiles(split.sentence_words)));
    let SplitLengths { train, valid, test } = numbers.lengths;
    let lengths = [train, valid, test];
    add_row(&mut table, &format!("over {} words", limits.words), lengths.map(|split| split.over_words));
    if let [Some(train), Some(valid), Some(test)] = lengths.map(|split| split.tokens) {
        let tokens = [train, valid, test];
        add_row(&mut table, "source tokens p50 p90 p99 max", tokens.map(|split| percentiles(split.source)));
        let over = format!("over {} source tokens", limits.source_tokens);
        add_row(&mut table, &over, tokens.map(|split| split.over_source));
        add_row(&mut table, "target tokens p50 p90 p99 max", tokens.map(|split| percentiles(split.target)));
        let over = format!("over {} target tokens", limits.target_tokens);
        add_row(&mut table, &over, tokens.map(|split| split.over_target));
    }
    table
}

/// What was not read as it stands in the files, and how free text is cut.
fn reading(numbers: &CorpusNumbers) -> Option<String> {
    let lines = numbers.files.iter().flat_map(|FileReport { path, report, .. }| {
        let notes = report.notes().into_iter();
        notes.map(move |note| format!("`{}`: {note}", path.display()))
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn labels(numbers: &CorpusNumbers) -> String {
    let mut table = table(&["spans", "train", "valid", "test"]);
    for (label, counts) in numbers.stats.labels() {
        add_row(&mut table, label, counts);
    }
    match &*numbers.stats.labels_only_in_test {
        [] => table.to_string(),
        only => format!("{table}\nonly in test: {}", only.join(", ")),
    }
}

fn percentiles(Percentiles { p50, p90, p99, max }: Percentiles) -> String {
    format!("{p50} {p90} {p99} {max}")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

fn add_row(table: &mut Table, name: &str, cells: impl IntoIterator<Item = impl ToString>) {
    table.add_row(std::iter::once(name.to_owned()).chain(cells.into_iter().map(|cell| cell.to_string())));
}
