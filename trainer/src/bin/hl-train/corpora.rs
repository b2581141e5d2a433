//! `hl-train corpora`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, Table};
use hyperloader_cli::{Console, Exit, FormatArgs, OutputFormat, Records};
use hyperloader_core::backbone::{TOKENIZER, tokenizer_of};
use hyperloader_core::corpus::{CorpusSpec, FileReport, LabelPreset, Labels, known};
use hyperloader_core::percentiles::Percentiles;
use hyperloader_core::text::wordpiece::VOCABULARY;
use hyperloader_trainer::config::{BackboneConfig, Config};
use hyperloader_trainer::corpora::{Corpora, CorpusNumbers, Limits, SplitLengths};
use hyperloader_trainer::model::{Tokens, tokens};

use crate::shared::{known_corpora, label_presets};
use crate::show::show;

/// The configuration that is used if no other is named.
const DEFAULT_CONFIG: &str = "hyperloader.toml";

/// Count the sentences, labels and lengths of corpora
///
/// The corpora are read as a training would read them. For each one, the counts are: sentences, words, duplicates,
/// ill-formed tags, spans per label, and sentences that are too long for the configuration's limits. Nothing is trained
/// or fetched.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  Count the tasks of `hyperloader.toml`:
    hl-train corpora
  Count the paper's corpora, as one JSON object per corpus:
    hl-train corpora --data data --output-format jsonl")]
pub(crate) struct CorporaArgs {
    /// Configuration whose tasks and limits are used [default: hyperloader.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Folder of the paper's corpora [default: the configuration's tasks]
    #[arg(long, value_name = "DIR", value_parser = known_corpora())]
    data: Option<PathBuf>,

    /// Labels to count [default: the configuration's, `plain` with `--data`]
    #[arg(long, value_name = "PRESET", value_parser = label_presets())]
    labels: Option<LabelPreset>,

    /// Pretrained model whose tokenizer gives the lengths in tokens [default: the configuration's]
    #[arg(long, value_name = "DIR|ID")]
    backbone: Option<String>,

    /// Print the first sentences of each split as they are read, with the tag of each word, instead of counting [default:
    /// count]
    #[arg(long, value_name = "N")]
    show: Option<usize>,

    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &CorporaArgs, console: &Console) -> Result<()> {
    let mut config = configuration(args)?;
    let specs = specs(args, config.as_ref())?;
    if let Some(config) = &mut config {
        config.tasks = specs.iter().cloned().collect();
        config.validate()?;
    }
    if let Some(count) = args.show {
        return show(&specs, count, args.format.output_format, console);
    }
    let codec = codec(args, config.as_ref(), console)?;
    let (training, method) = config.map(|config| (config.training, config.method)).unwrap_or_default();
    let codec = codec.as_ref().map(|tokens| &*tokens.coding);
    let corpora = Corpora::count(specs, codec, &training, &method);
    match args.format.output_format {
        OutputFormat::Jsonl => {
            let mut records = Records::new(console, OutputFormat::Jsonl);
            corpora.corpora.iter().try_for_each(|corpus| records.write(corpus, String::new))?;
            records.finish()?;
        }
        format => console.record(format, &corpora, || text(&corpora))?,
    }
    for (name, error) in corpora.failed() {
        console.error_at(&format!("corpus `{name}`"), error, Exit::UserError);
    }
    Ok(())
}

/// With `--data`, no configuration is needed.
fn configuration(args: &CorporaArgs) -> Result<Option<Config>> {
    let path = match (&args.config, &args.data) {
        (Some(path), _) => path,
        (None, Some(_)) if !Path::new(DEFAULT_CONFIG).exists() => return Ok(None),
        (None, _) => Path::new(DEFAULT_CONFIG),
    };
    Ok(Some(Config::from_file(path)?))
}

fn specs(args: &CorporaArgs, config: Option<&Config>) -> Result<Vec<(String, CorpusSpec)>> {
    let mut specs = match &args.data {
        Some(folder) => known::in_folder(folder)?,
        None => config.map(|config| config.tasks.clone().into_iter().collect()).unwrap_or_default(),
    };
    if let Some(labels) = args.labels {
        specs.iter_mut().for_each(|(_, spec)| spec.labels = Labels::Preset(labels));
    }
    Ok(specs)
}

/// The tokenizer. Without `--backbone`, a note tells if there is none.
fn codec(args: &CorporaArgs, config: Option<&Config>, console: &Console) -> Result<Option<Tokens>> {
    if let Some(typed) = &args.backbone {
        let mut backbone = BackboneConfig::default();
        backbone.choose(typed)?;
        let folder = on_this_machine(&backbone).with_context(|| {
            format!("`{typed}` is neither a folder nor a model in the cache\nhint: name a folder with `{TOKENIZER}`, or let a training fetch the model")
        })?;
        return Ok(Some(tokens(&folder)?));
    }
    let folder = config.and_then(|config| on_this_machine(&config.backbone));
    let is_tokenizer =
        |folder: &Path| [tokenizer_of(folder), folder.join(VOCABULARY)].iter().any(|f| f.exists());
    if let Some(folder) = folder.filter(|folder| args.data.is_none() || is_tokenizer(folder)) {
        return Ok(Some(tokens(&folder)?));
    }
    console.note(
        "no backbone on this machine: lengths in tokens are left out\nhint: name one with `--backbone`",
    );
    Ok(None)
}

/// The folder of a backbone. A model of the hub must be in the cache: nothing is fetched for lengths alone.
fn on_this_machine(backbone: &BackboneConfig) -> Option<PathBuf> {
    Some(backbone.locate_offline().ok()?.folder)
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

/// The counts of each split, without its labels.
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
    if let Some(most) = limits.words {
        add_row(&mut table, &format!("over {most} words"), lengths.map(|split| split.over_words));
    }
    if let [Some(train), Some(valid), Some(test)] = lengths.map(|split| split.tokens) {
        let tokens = [train, valid, test];
        add_row(&mut table, "source tokens p50 p90 p99 max", tokens.map(|split| percentiles(split.source)));
        let over = format!("over {} source tokens", limits.source_tokens);
        add_row(&mut table, &over, tokens.map(|split| split.over_source));
        if let (Some(most), [Some(train), Some(valid), Some(test)]) =
            (limits.target_tokens, tokens.map(|split| split.target))
        {
            add_row(&mut table, "target tokens p50 p90 p99 max", [train, valid, test].map(percentiles));
            let over = tokens.map(|split| split.over_target.unwrap_or(0));
            add_row(&mut table, &format!("over {most} target tokens"), over);
        }
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
