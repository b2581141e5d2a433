//! A configuration as TOML, with comments that say what the files hold.

use std::fmt::{Display, Write};
use std::path::Path;

use hyperloader_core::corpus::FileReport;
use hyperloader_core::text::printable::printable;
use toml::Value;

use super::error::InitError;
use super::files::TaskFiles;
use super::{Plan, longest, too_long};
use crate::config::{BackboneConfig, TooLong, TrainingConfig, from_folder};
use crate::corpora::CorpusNumbers;

/// The most labels that a comment lists.
const SHOWN_LABELS: usize = 40;

/// The configuration, for a file in `folder`.
pub(super) fn write(
    plan: &Plan,
    training: &TrainingConfig,
    tasks: &[(&TaskFiles, CorpusNumbers)],
    folder: &Path,
) -> Result<String, InitError> {
    let mut out = Lines(String::new());
    out.comment("Written by `hl-train init` from what the files hold. Paths are relative to this file.");
    if let Some(run) = &plan.warm_start {
        out.comment(format!(
            "Backbone and method are those of the run `{run}`. `hl-train --warm-start {run}` starts from what it learned."
        ));
    }
    backbone(&mut out, &plan.backbone, folder)?;
    out.table("method");
    let Value::Table(method) = Value::try_from(&plan.method)? else { return Ok(out.0) };
    let (first, others): (Vec<_>, Vec<_>) = method.iter().partition(|(key, _)| *key == "method");
    first.into_iter().chain(others).for_each(|(key, value)| out.key(key, value, ""));
    training_table(&mut out, training, tasks);
    for (task, numbers) in tasks {
        task_table(&mut out, task, numbers, folder)?;
    }
    Ok(out.0)
}

fn backbone(out: &mut Lines, backbone: &BackboneConfig, folder: &Path) -> Result<(), InitError> {
    out.table("backbone");
    if let Some(path) = &backbone.path {
        out.key("path", text(from_folder(path, folder)?.display()), "a folder in Hugging Face's layout");
    }
    if let Some(id) = &backbone.id {
        out.key("id", text(id), "a model of the Hugging Face hub, which the first training downloads");
    }
    if let Some(revision) = &backbone.revision {
        out.key("revision", text(revision), "");
    }
    if backbone.cross_attention_relative_bias {
        out.key("cross_attention_relative_bias", true, "");
    }
    Ok(())
}

fn training_table(out: &mut Lines, training: &TrainingConfig, tasks: &[(&TaskFiles, CorpusNumbers)]) {
    let sentences: usize = tasks.iter().map(|(_, numbers)| numbers.stats.train.sentences).sum();
    let epochs = training.steps as f64 * training.batch_size as f64 / sentences.max(1) as f64;
    out.table("training");
    let passes = format!("updates: each of {sentences} training sentences is used about {epochs:.0} times");
    out.key("steps", training.steps, passes);
    out.key("batch_size", training.batch_size, "sentences of an update");
    out.key(
        "learning_rate",
        format!("{:e}", training.learning_rate),
        "the highest; lower it if the loss rises",
    );
    out.key("warmup_steps", training.warmup_steps, "updates until the learning rate is the highest");
    out.key("evaluate_every", training.evaluate_every, "updates between two evaluations");
    let smoothing = "share of each target that is spread over all classes";
    out.key("label_smoothing", format!("{:?}", training.label_smoothing), smoothing);
    if let Some(dropout) = training.dropout {
        out.key("dropout", format!("{dropout:?}"), "in place of the backbone's");
    }
    lengths(out, training, tasks);
}

/// The limits of lengths, and what becomes of longer sentences.
fn lengths(out: &mut Lines, training: &TrainingConfig, tasks: &[(&TaskFiles, CorpusNumbers)]) {
    let source = longest(tasks, |tokens| Some(tokens.source.max));
    let target = longest(tasks, |tokens| tokens.target.map(|target| target.max));
    let unknown = "not counted: the backbone's tokenizer is not on this machine";
    let says = |what: &str, longest: Option<usize>| match longest {
        Some(longest) => format!("most tokens of {what}; the longest here has {longest}"),
        None => format!("most tokens of {what}; {unknown}"),
    };
    out.key("max_source_len", training.max_source_len, says("a sentence", source));
    // A model without targets of its own has tokens of sources only.
    if target.is_some() || source.is_none() {
        out.key("max_target_len", training.max_target_len, says("the tags of a sentence", target));
    }
    if training.too_long == TooLong::Window {
        let long = too_long(tasks);
        let what = format!("sentences that are too long ({long} here) are cut into parts that fit");
        out.key("too_long", text("window"), what);
    }
}

fn task_table(
    out: &mut Lines,
    task: &TaskFiles,
    numbers: &CorpusNumbers,
    folder: &Path,
) -> Result<(), InitError> {
    out.table(&format!("task.{}", task_key(&task.name)));
    let stats = &numbers.stats;
    let words = numbers.splits().map(|split| split.sentence_words.max).into_iter().max().unwrap_or(0);
    out.comment(format!(
        "{} training, {} validation, {} test sentences of up to {words} words",
        stats.train.sentences, stats.valid.sentences, stats.test.sentences
    ));
    out.comment(labels(numbers));
    for FileReport { path, report, .. } in &numbers.files {
        report.notes().into_iter().for_each(|note| out.comment(format!("`{}`: {note}", path.display())));
    }
    out.key("layout", text(numbers.layout), "");
    let files = [("train", Some(&task.train)), ("valid", task.valid.as_ref()), ("test", task.test.as_ref())];
    for (split, path) in files {
        if let Some(path) = path {
            out.key(split, text(from_folder(path, folder)?.display()), "");
        }
    }
    let missing: Vec<&str> =
        files[1..].iter().filter(|(_, path)| path.is_none()).map(|(split, _)| *split).collect();
    if !missing.is_empty() {
        let what = format!(
            "share of the sentences of `train` that is held out for `{}`",
            missing.join("`, and for `")
        );
        out.key("holdout", 0.1, what);
    }
    let words = Value::try_from(numbers.words)?;
    out.key("words", words, "how free text is split into words");
    out.key("labels", text("keep"), "as in the files; \"plain\" makes them lower case");
    Ok(())
}

/// The labels with the number of their spans.
fn labels(numbers: &CorpusNumbers) -> String {
    let labels = numbers.stats.labels();
    let count = |splits: &[usize; 3]| splits.iter().sum::<usize>();
    let shown = labels.iter().take(SHOWN_LABELS).map(|(label, splits)| format!("{label} {}", count(splits)));
    let more = labels.len().saturating_sub(SHOWN_LABELS);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!(
        "{} labels, each with its number of spans: {}{more}",
        labels.len(),
        shown.collect::<Vec<_>>().join(", ")
    )
}

/// A task's name as a key: in quotes if it has other characters than a bare key.
fn task_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(bare) { name.to_owned() } else { text(name).to_string() }
}

fn text(value: impl Display) -> Value {
    Value::String(value.to_string())
}

/// The lines of a TOML file.
struct Lines(String);

impl Lines {
    /// A comment; control characters in it are written as escapes.
    fn comment(&mut self, comment: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# {}", printable(&comment.to_string()));
    }

    fn table(&mut self, name: &str) {
        let _ = writeln!(self.0, "\n[{name}]");
    }

    fn key(&mut self, key: &str, value: impl Display, comment: impl Display) {
        let comment = comment.to_string();
        let comment = if comment.is_empty() { comment } else { format!(" # {}", printable(&comment)) };
        let _ = writeln!(self.0, "{key} = {value}{comment}");
    }
}
