//! `hl-run --gold FILE`: evaluates the model on labeled sentences, alone or beside another model.
//!
//! - [`mod@text`]: for people
//! - [`html`]: one web page

mod html;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hyperloader_cli::{Console, Exit};
use hyperloader_core::corpus::{CorpusError, CorpusSpec, Labels, Layout, ReadReport, Sentence};
use hyperloader_core::files::write_atomic;
use hyperloader_runtime::{Comparison, Evaluation, ModelFile, Tagger};
use serde::Serialize;

use crate::args::TagArgs;
use crate::output::check_file;
use crate::values::Format;

/// An evaluation with what it is about.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    model: PathBuf,
    task: String,
    gold: PathBuf,
    /// What was not read as it stands in the file, and how much was left out.
    read: ReadReport,
    evaluation: Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Compared>,
    /// The sentences, to name the places of those that are shown.
    #[serde(skip)]
    sentences: Vec<Sentence>,
}

/// Another model on the same sentences.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    model: PathBuf,
    evaluation: Evaluation,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Prints the evaluation of `args`' model on its labeled file, or writes it to `--output`.
pub(crate) fn run(args: &TagArgs, console: &Console) -> Result<()> {
    let Some(gold) = &args.gold else {
        // clap does not require it if sentences are given, which conflict with it.
        bail!("`--compare` needs labeled sentences\nhint: name them with `--gold FILE`")
    };
    let format = format(args)?;
    // What is wrong with the output is said before a model is opened.
    if let Some(path) = &args.output {
        check_file(args, path)?;
    }
    let model = args.only_model()?;
    let tagger = open(args, model, console)?;
    let (sentences, read) = read(args, gold, &tagger)?;
    for note in read.notes() {
        console.note(format_args!("{}: {note}", gold.display()));
    }
    let evaluation = Evaluation::new(&tagger, &sentences)?;
    report_faults(&evaluation, gold, &tagger, None, console);
    let task = tagger.metadata().task.clone();
    drop(tagger);
    let comparison = match &args.compare {
        Some(other) => Some(compare(args, (gold, other), &sentences, &evaluation, console)?),
        None => None,
    };
    let (model, gold) = (model.to_owned(), gold.clone());
    let results = Results { model, task, gold, read, evaluation, comparison, sentences };
    let page = match format {
        Format::Html => html::page(&results, args.shown),
        Format::Text => text::report(&results, args.shown),
        _ => format!("{}\n", serde_json::to_string(&results)?),
    };
    match &args.output {
        Some(path) => Ok(write_atomic(path, |file| file.write_all(page.as_bytes()))?),
        None => {
            console.print_data(page.as_bytes())?;
            console.flush()
        }
    }
}

/// The format that is asked for, or that of the output's extension.
fn format(args: &TagArgs) -> Result<Format> {
    let extension = args.output.as_deref().and_then(Path::extension).and_then(|extension| extension.to_str());
    let format = args.output_format.or_else(|| Format::from_extension(extension?)).unwrap_or(Format::Text);
    match format {
        Format::Text | Format::Json | Format::Jsonl | Format::Html => Ok(format),
        _ => bail!(
            "an evaluation cannot be written as `{}`\nhint: use `text`, `json` or `html`",
            format.name()
        ),
    }
}

fn open(args: &TagArgs, model: &Path, console: &Console) -> Result<Tagger> {
    let file = match &args.tasks[..] {
        [] => ModelFile::open(model)?,
        [task] => ModelFile::open_task(model, task)?,
        [..] => bail!("an evaluation has one task\nhint: name one with `--task`"),
    };
    let tagger = Tagger::new(file, &args.options(model))?;
    for notice in tagger.backend().notices() {
        console.note(notice);
    }
    console.note(format_args!("backend: {}", tagger.backend().description()));
    Ok(tagger)
}

/// The labeled sentences; text with spans is cut into words as the tagger cuts it.
fn read(args: &TagArgs, gold: &Path, tagger: &Tagger) -> Result<(Vec<Sentence>, ReadReport)> {
    let layout = match args.input_format.map(|format| format.layout()) {
        None | Some(Layout::Text) if gold.is_dir() => Some(Layout::SeqInOut),
        layout => layout,
    };
    let options = args.read_options();
    let spec = CorpusSpec {
        layout,
        words: Some(tagger.splitting()),
        labels: Labels::Preset(args.gold_labels),
        columns: options.columns,
        separator: options.separator,
        fields: options.fields,
        offsets: args.offsets,
        ..CorpusSpec::new(Layout::Jsonl, "", None, "")
    };
    match spec.read_file(gold) {
        // Its hint names a key of a configuration.
        Err(CorpusError::NoLayout { path, .. }) => bail!(
            "the format of `{}` does not follow from its name\nhint: name it, for instance `--input-format conll`",
            path.display()
        ),
        read => Ok(read?),
    }
}

/// Says what of the gold was not tagged, or cannot be right. `model` is the path of a second model, and the evaluation of the first:
/// labels that both lack are reported once.
fn report_faults(
    evaluation: &Evaluation,
    gold: &Path,
    tagger: &Tagger,
    second: Option<(&Path, &Evaluation)>,
    console: &Console,
) {
    let by = second.map(|(model, _)| format!("`{}`: ", model.display())).unwrap_or_default();
    for sentence in &evaluation.untagged {
        let error = anyhow::anyhow!("{by}{}", sentence.error);
        console.error_at(&format!("{}:{}", gold.display(), sentence.line), error.as_ref(), Exit::UserError);
    }
    let Evaluation { incomplete, unread_words, unknown_labels, .. } = evaluation;
    if *incomplete > 0 {
        console.warn(format_args!(
            "{by}{incomplete} targets reached their maximum length: their last words may have no tags"
        ));
    }
    if *unread_words > 0 {
        console.warn(format_args!(
            "{by}{unread_words} words take more tokens than the tagger does and were tagged `O`"
        ));
    }
    let is_new = second.is_none_or(|(_, first)| first.unknown_labels != *unknown_labels);
    if is_new && !unknown_labels.is_empty() {
        let listed = |labels: &mut dyn Iterator<Item = &String>| {
            labels.map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
        };
        console.warn(format_args!(
            "{by}the tagger has no label {}; all their spans are missed. Its labels are {}\n\
             hint: `--gold-labels plain` or `reference` rewrites the labels of the corpora of the paper as training does",
            listed(&mut unknown_labels.iter()),
            listed(&mut tagger.metadata().labels.iter()),
        ));
    }
}

fn compare(
    args: &TagArgs,
    (gold, model): (&Path, &Path),
    sentences: &[Sentence],
    first: &Evaluation,
    console: &Console,
) -> Result<Compared> {
    let tagger = open(args, model, console)?;
    let evaluation = Evaluation::new(&tagger, sentences)
        .with_context(|| format!("cannot evaluate `{}`", model.display()))?;
    report_faults(&evaluation, gold, &tagger, Some((model, first)), console);
    if evaluation.unknown_labels != first.unknown_labels {
        console.warn(format_args!(
            "`{}` has other labels than `{}`",
            model.display(),
            args.only_model()?.display()
        ));
    }
    let comparison = Comparison::new(sentences, first, &evaluation, args.shown);
    Ok(Compared { model: model.to_owned(), evaluation, comparison })
}
