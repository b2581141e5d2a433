//! `hl-export`: writes a trained task as one ONNX file.
//!
//! - [`args`]: the command line
//! - [`inspect`]: `hl-export inspect`

mod args;
mod inspect;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use hyperloader_cli::runs::folder_of_runs;
use hyperloader_cli::{CommonArgs, Console, Exit, Program, Records};
use hyperloader_core::causes::with_causes;
use hyperloader_core::corpus::Sentence;
use hyperloader_core::files::{check_output, check_output_folder, read_text};
use hyperloader_core::run::{Candidates, Run, Task, Which};
use hyperloader_core::text::words::WordSplitting;
use hyperloader_exporter::{
    Cost, CostCheck, ExportError, Exported, Exporter, Import, Packages, Precision, check_site,
    cost_sentences, write_test_data,
};

use crate::args::{Args, Command, ExportArgs, MAX_F1_DROP, PrecisionChoice};

fn main() -> ExitCode {
    hyperloader_cli::main::<Args>()
}

impl Program for Args {
    const VARIABLES: &'static [(&'static str, &'static str)] = &[hyperloader_runtime::ORT_TELEMETRY_OFF];

    fn common(&self) -> CommonArgs {
        self.common
    }

    fn run(self, console: &Console) -> Result<Exit> {
        match (self.command, self.export) {
            (Some(Command::Inspect(args)), _) => inspect::run(&args, console)?,
            (Some(Command::Documents(documents)), _) => documents.print::<Self>(console)?,
            (None, Some(args)) => export_tasks(&args, console)?,
            // clap requires `--task` or `--all` without a command.
            (None, None) => anyhow::bail!("no task\nhint: name one with `--task TASK`, or give `--all`"),
        }
        Ok(Exit::Success)
    }

    fn classify(error: &anyhow::Error) -> Exit {
        match error.chain().filter_map(|cause| cause.downcast_ref()).any(ExportError::is_internal) {
            true => Exit::InternalError,
            false => Exit::UserError,
        }
    }
}

/// Exports each task; an error of one is reported and does not stop the others.
fn export_tasks(args: &ExportArgs, console: &Console) -> Result<()> {
    check_options(args)?;
    if let Some(folder) = &args.from {
        return export_foreign(args, folder, console);
    }
    let run = match &args.run {
        Some(folder) => Run::open(folder)?,
        None => newest(args, console)?,
    };
    if let Some(folder) = &args.bundle {
        return export_bundle(args, run, folder, console);
    }
    if let Some(path) = &args.multi {
        return export_multi(args, run, path, console);
    }
    let tasks: Vec<String> = match &args.task {
        Some(task) => vec![run.task(task)?.name.clone()],
        None => run.manifest.tasks.iter().map(|task| task.name.clone()).collect(),
    };
    let format = args.output_format;
    let mut list = args.all.then(|| Records::new(console, format));
    let mut opened: Option<(u64, Exporter)> = None;
    for task in &tasks {
        if let Err(error) = check_place(args, task) {
            console.error(error.as_ref(), Exit::UserError);
            continue;
        }
        // One checkpoint serves all tasks, unless each has its own best.
        let step = run.checkpoint(args.which(task))?.step;
        let exporter = match opened.take() {
            Some((open, exporter)) if open == step => exporter,
            _ => {
                console.note(format_args!("run `{}`, checkpoint of step {step}", run.folder.display()));
                Exporter::open(run.clone(), args.which(task), args.backbone.as_deref())?
            }
        };
        let printed = export(args, &exporter, task, console).and_then(|exported| match &mut list {
            Some(list) => list.write(&exported, || exported.to_string()),
            None => console.record(format, &exported, || exported.to_string()),
        });
        if let Err(error) = printed {
            console.error(error.as_ref(), Args::classify(&error));
        }
        opened = Some((step, exporter));
    }
    list.map_or(Ok(()), Records::finish)
}

/// The newest run that was trained, which a note names.
fn newest(args: &ExportArgs, console: &Console) -> Result<Run> {
    let run = Run::newest(&folder_of_runs(args.runs.as_deref())?, Candidates::Trained)?;
    console.note(format_args!("run `{}`, the newest", run.folder.display()));
    Ok(run)
}

/// Refuses options that would have no effect, and those that contradict each other.
fn check_options(args: &ExportArgs) -> Result<()> {
    if args.no_cost && args.precision == PrecisionChoice::Auto {
        bail!("`--precision auto` needs the measurement that `--no-cost` leaves out");
    }
    if let PrecisionChoice::Fixed(precision) = args.precision
        && args.unfolded
        && precision != Precision::F32
    {
        return Err(ExportError::Unfolded(precision).into());
    }
    let of_precisions = [
        ("--keep-f32", !args.keep_f32.is_empty()),
        ("--max-f1-drop", args.max_f1_drop.is_some()),
        ("--valid", args.valid.is_some()),
    ];
    let given = of_precisions.iter().find(|(_, is_given)| *is_given);
    if let Some((option, _)) = given.filter(|_| args.precision == PrecisionChoice::Fixed(Precision::F32)) {
        bail!(
            "`{option}` has no effect on a file in f32\nhint: leave it out, or name another precision with `--precision`"
        );
    }
    Ok(())
}

/// Exports a checkpoint of another program.
fn export_foreign(args: &ExportArgs, folder: &Path, console: &Console) -> Result<()> {
    let (Some(task), Some(labels)) = (&args.task, &args.labels) else {
        bail!("`--from` needs `--task` and `--labels`");
    };
    let path = output(args, task);
    check_place(args, task)?;
    let is_read = |file: &Path| {
        file.canonicalize().is_ok_and(|file| path.canonicalize().is_ok_and(|path| path == file))
    };
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(file) = inside.chain([labels.clone()]).find(|file| is_read(file)) {
        bail!("`{}` cannot be written: it is read\nhint: name another file with `--output`", file.display());
    }
    let labels = read_labels(labels)?;
    let import = Import {
        folder: folder.to_owned(),
        backbone: args.backbone.clone(),
        task: task.clone(),
        labels,
        words: WordSplitting { rule: args.words, lowercase: args.lowercase },
        source_prefix: args.source_prefix.clone(),
        max_source_len: args.max_source_len.get(),
        max_target_len: args.max_target_len.get(),
    };
    let exporter = Exporter::import(&import)?;
    console.note(format_args!(
        "`{}` holds {}, trained on `{}`",
        folder.display(),
        exporter.origin(),
        exporter.backbone_folder().display()
    ));
    let exported = export(args, &exporter, task, console)?;
    console.record(args.output_format, &exported, || exported.to_string())
}

/// The labels in a file, one in each line.
fn read_labels(path: &Path) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let mut labels = Vec::new();
    for (number, label) in (1..).zip(lines).filter(|(_, label)| !label.is_empty()) {
        let is_tag = label.starts_with("B-") || label.starts_with("I-");
        if is_tag || label.contains(char::is_whitespace) {
            let problem = if is_tag { "is a tag" } else { "has white space" };
            bail!(
                "{}:{number}: `{}` {problem}, expected the name of a label\n\
                 hint: the file has one label in each line, without `B-` and `I-`",
                path.display(),
                label.escape_debug()
            );
        }
        labels.push(label.to_owned());
    }
    if labels.is_empty() {
        bail!("`{}` has no label", path.display());
    }
    Ok(labels)
}

/// Exports all tasks of `run` as a bundle.
fn export_bundle(args: &ExportArgs, run: Run, folder: &Path, console: &Console) -> Result<()> {
    let tasks: Vec<String> = run.manifest.tasks.iter().map(|task| task.name.clone()).collect();
    let (which, precision) = of_all_tasks(args)?;
    check_output_folder(folder)?;
    for task in tasks.iter().filter(|_| folder.exists()) {
        check_in_bundle(folder, &format!("{task}.onnx"), args.force)?;
    }
    let exporter = Exporter::open(run, which, args.backbone.as_deref())?;
    let stage = |task: &str, step: &str| console.note(format_args!("{task}: {step}"));
    let mut checks = BTreeMap::new();
    for task in &tasks {
        checks.insert(task.as_str(), cost_check(args, &exporter, task, console)?);
    }
    let options = |task: &str| args.options(precision, checks.get(task).cloned().flatten());
    let exported = exporter.export_bundle(&tasks, folder, &options, &stage)?;
    let mut list = Records::new(console, args.output_format);
    for exported in &exported {
        report(exported, console);
        list.write(exported, || exported.to_string())?;
    }
    list.finish()
}

/// Exports all tasks of `run` as one graph.
fn export_multi(args: &ExportArgs, run: Run, path: &Path, console: &Console) -> Result<()> {
    let (which, precision) = of_all_tasks(args)?;
    check_new(path, args.force)?;
    let exporter = Exporter::open(run, which, args.backbone.as_deref())?;
    let stage = |task: &str, step: &str| console.note(format_args!("{task}: {step}"));
    let exported = exporter.export_multi(path, &args.options(precision, None), &stage)?;
    let mut list = Records::new(console, args.output_format);
    for exported in &exported {
        report(exported, console);
        list.write(exported, || exported.to_string())?;
    }
    list.finish()
}

/// The checkpoint and the precision of files that hold all tasks.
fn of_all_tasks(args: &ExportArgs) -> Result<(Which<'static>, Precision)> {
    let ([], precision) = args.precision.candidates() else {
        bail!("tasks that share weights have one precision\nhint: name one in place of `--precision auto`");
    };
    match args.which("") {
        Which::BestOf(_) => {
            bail!("tasks that share weights are of one checkpoint\nhint: leave out `--checkpoint task-best`")
        }
        Which::Best => Ok((Which::Best, precision)),
        Which::Last => Ok((Which::Last, precision)),
    }
}

/// Checks, before other work is done, that the file can be written, and that it is not there unless `force`.
fn check_new(path: &Path, force: bool) -> Result<()> {
    check_output(path)?;
    if !force && path.exists() {
        bail!("`{}` is there already\nhint: `--force` replaces it", path.display());
    }
    Ok(())
}

/// Checks, before other work is done, that the file or the site of `task` can be written.
fn check_place(args: &ExportArgs, task: &str) -> Result<()> {
    match &args.web {
        Some(folder) => {
            packages(args)?;
            check_output_folder(folder)?;
            Ok(check_site(folder, args.existing())?)
        }
        None => check_new(&output(args, task), args.force),
    }
}

/// The packages that a page needs.
fn packages(args: &ExportArgs) -> Result<Packages, ExportError> {
    args.web_runtime.as_ref().map_or_else(Packages::find, Packages::new)
}

/// As [`check_new`]. A link must not lead out of the bundle, whose data file would not lie beside the model.
fn check_in_bundle(folder: &Path, name: &str, force: bool) -> Result<()> {
    let path = folder.join(name);
    check_new(&path, force)?;
    let (found, expected) = (path.canonicalize(), folder.canonicalize());
    match (found, expected) {
        (Ok(found), Ok(expected)) if found.parent() != Some(&expected) => bail!(
            "`{}` leads out of the bundle, to `{}`\nhint: remove the link",
            path.display(),
            found.display()
        ),
        _ => Ok(()),
    }
}

/// Path of a task's file.
fn output(args: &ExportArgs, task: &str) -> PathBuf {
    args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{task}.onnx")))
}

/// How the cost of a precision is measured. `None` for float32 and, with a warning, if there are no sentences to measure on.
fn cost_check(
    args: &ExportArgs,
    exporter: &Exporter,
    task: &str,
    console: &Console,
) -> Result<Option<Rc<CostCheck>>> {
    if args.no_cost || args.precision == PrecisionChoice::Fixed(Precision::F32) {
        return Ok(None);
    }
    let (run, file) = (exporter.run(), args.valid.as_deref());
    let needs_cost = file.is_some() || args.max_f1_drop.is_some() || args.precision == PrecisionChoice::Auto;
    match cost_sentences(run, run.task(task)?, file) {
        Ok(sentences) => {
            // Those of the run itself may have labels that a share of its training sentences lacks.
            if file.is_some() {
                warn_of_labels(run.task(task)?, &sentences, console);
            }
            let max_f1_drop = args.max_f1_drop.unwrap_or(MAX_F1_DROP);
            Ok(Some(Rc::new(CostCheck::new(sentences, max_f1_drop, args.backends()))))
        }
        Err(error) if needs_cost => Err(error.into()),
        Err(error) => {
            console.warn(format_args!(
                "{task}: what the precision costs was not measured: {}\nhint: name a labeled file with `--valid`",
                with_causes(&error)
            ));
            Ok(None)
        }
    }
}

/// Warns of labels of the sentences that the task does not have: the tagger cannot find them.
fn warn_of_labels(task: &Task, sentences: &[Sentence], console: &Console) {
    let tags = sentences.iter().flat_map(|sentence| &sentence.tags);
    let labels: BTreeSet<&str> = tags.filter_map(|tag| tag.get(2..)).collect();
    let unknown: Vec<&str> =
        labels.into_iter().filter(|label| !task.labels.iter().any(|known| known == label)).collect();
    if !unknown.is_empty() {
        console.warn(format_args!(
            "{}: the sentences have labels that the task lacks, whose spans count as not found: {}",
            task.name,
            unknown.join(", ")
        ));
    }
}

fn export(args: &ExportArgs, exporter: &Exporter, task: &str, console: &Console) -> Result<Exported> {
    let path = output(args, task);
    let stage = |message: &str| console.note(format_args!("{task}: {message}"));
    if let Some(folder) = &args.test_data {
        check_output_folder(folder)?;
        check_test_data(folder, args.force)?;
    }
    let check = cost_check(args, exporter, task, console)?;
    let export = |precision| {
        let options = args.options(precision, check.clone());
        match &args.web {
            Some(folder) => exporter.export_web(task, folder, &options, &packages(args)?, &stage),
            None => exporter.export(task, &path, &options, &stage),
        }
    };
    let (candidates, last) = args.precision.candidates();
    let accepted = candidates.iter().find_map(|precision| match export(*precision) {
        Err(ExportError::Cost(costly)) => {
            console.note(format_args!("{task}: {costly}"));
            None
        }
        result => Some(result),
    });
    let exported = accepted.unwrap_or_else(|| export(last))?;
    report(&exported, console);
    if let Some(folder) = &args.test_data {
        for folder in write_test_data(&path, folder, &args.backends())? {
            console.note(format_args!("{task}: wrote `{}`", folder.display()));
        }
    }
    Ok(exported)
}

/// Checks that there is no test data yet, or removes it if `force`: older sets would be taken for those of this file.
fn check_test_data(folder: &Path, force: bool) -> Result<()> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_set = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("test_data_set_"))
    };
    for set in entries.filter(is_set) {
        if !force {
            bail!("`{}` is there already\nhint: `--force` replaces it", set.display());
        }
        std::fs::remove_dir_all(&set).with_context(|| format!("cannot remove `{}`", set.display()))?;
    }
    Ok(())
}

/// Notes and warnings on a file that was written.
fn report(exported: &Exported, console: &Console) {
    let Exported { task, file: path, precision, .. } = exported;
    for earlier in &exported.earlier_data {
        console.note(format_args!(
            "`{}` has weights of an earlier export; remove it if no model needs it",
            earlier.display()
        ));
    }
    if let Some(Cost { sentences, .. }) = exported.cost.filter(|cost| cost.f1_f32 == 0.0) {
        console.warn(format_args!(
            "{task}: what {precision} costs is not known, because f32 finds no right span in the {sentences} sentences\n\
             hint: name a labeled file of the task with `--valid`"
        ));
    }
    match &exported.ladder {
        None => console.warn(format_args!("`{}` was not verified, because of `--no-verify`", path.display())),
        Some(ladder) => {
            console.note(format_args!("{task}: verified\n{ladder}"));
            if !ladder.file_was_run {
                console.warn(format_args!(
                    "`{}` was not run, because no backend is available\nhint: `cargo xtask setup` fetches ONNX Runtime",
                    path.display()
                ));
            }
        }
    }
}
