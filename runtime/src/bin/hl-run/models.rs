//! The models of a call, told apart by their tasks.

use std::path::Path;

use anyhow::{Result, bail};
use hyperloader_cli::Console;
use hyperloader_runtime::{ModelFile, Tagger, TaggerMetadata, Threshold, Unit};

use crate::args::TagArgs;

/// The files that `--model` names, not loaded yet.
///
/// # Errors
/// If a file is not a tagger, or two have the same task.
pub(crate) fn files(args: &TagArgs) -> Result<Vec<ModelFile>> {
    let mut files: Vec<ModelFile> = Vec::new();
    for path in &args.models {
        for file in ModelFile::open_all(path)? {
            let task = &file.metadata().task;
            if !args.tasks.is_empty() && !args.tasks.contains(task) {
                continue;
            }
            if let Some(other) = files.iter().find(|other| other.metadata().task == *task) {
                bail!(
                    "`{}` and `{}` are both taggers of the task `{task}`: their results could not be told apart\n\
                     hint: tag with one after the other, or compare them with `--gold FILE --compare FILE`",
                    other.path().display(),
                    path.display()
                );
            }
            files.push(file);
        }
    }
    let is_there = |task: &&String| files.iter().any(|file| file.metadata().task == **task);
    if let Some(task) = args.tasks.iter().find(|task| !is_there(task)) {
        bail!("no file has the task `{task}`\nhint: `hl-run --model FILE --info` shows the tasks of a file");
    }
    Ok(files)
}

/// The taggers of all models, in the order of the command line. Notes about them are printed.
///
/// # Errors
/// As [`files`], and if a tagger cannot be opened.
pub(crate) fn open(args: &TagArgs, console: &Console) -> Result<Vec<Tagger>> {
    let mut taggers: Vec<Tagger> = Vec::new();
    let mut noted: Vec<String> = Vec::new();
    let files = files(args)?;
    let several = files.len() > 1;
    for file in files {
        let path = file.path().to_owned();
        let tagger = open_one(args, file, &path)?;
        let backend = tagger.backend();
        let notices = backend.notices();
        let notes = notices.iter().map(ToString::to_string);
        for note in notes.chain([format!("backend: {}", backend.description())]) {
            // Most notes are the same for all models; each is printed once.
            if !noted.contains(&note) {
                console.note(&note);
                noted.push(note);
            }
        }
        if let Some(threshold) = tagger.threshold() {
            console.note(format_args!("{}{}", named(several, tagger.metadata()), guaranteed(&threshold)));
        }
        taggers.push(tagger);
    }
    Ok(taggers)
}

fn open_one(args: &TagArgs, file: ModelFile, path: &Path) -> Result<Tagger> {
    Ok(Tagger::new(file, &args.options(path))?)
}

/// What a threshold gives out, and what holds for it.
fn guaranteed(threshold: &Threshold) -> String {
    let Threshold { of, score, bound, .. } = threshold;
    let (given, wrong) = match of {
        Unit::Sentences => ("answering", "have a wrong tag"),
        Unit::Spans => ("giving out", "are wrong"),
    };
    format!("{given} {of} with a score of at least {score}: at most {:.1} % of them {wrong}", 100.0 * bound)
}

/// `task: ` before what concerns one of several models.
pub(crate) fn named(several: bool, model: &TaggerMetadata) -> String {
    if several { format!("{}: ", model.task) } else { String::new() }
}
