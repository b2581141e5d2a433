//! `hl-train init`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::causes::with_causes;
use hyperloader_core::files::{check_output, write_atomic};
use hyperloader_core::run::Run;
use hyperloader_trainer::config::BackboneConfig;
use hyperloader_trainer::init::{Plan, files};
use hyperloader_trainer::model::{Tokens, tokens};
use serde_json::json;

use crate::shared::quoted;

/// Write a configuration for your own corpus
///
/// Reads the files as a training would, and writes a commented configuration with their layout, labels and lengths that
/// `hl-train --config` runs unchanged. Files that are named after `train`, `valid` (or `dev`) and `test` are the splits of
/// one task; any other file is a task of its own, of which validation and test sentences are held out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train init --data invoices.jsonl
  hl-train init --data ner/train.conll ner/dev.conll ner/test.conll --backbone t5-base
  hl-train init --data invoices.jsonl --warm-start runs/hyperloader-1")]
pub(crate) struct InitArgs {
    /// Files of the corpus [default: none; at least one is needed]
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,

    /// Pretrained model: a folder in Hugging Face's layout, or the id of a model of its hub [default: that of
    /// `--warm-start`, else `t5-base`]
    #[arg(long, value_name = "DIR|ID", conflicts_with = "warm_start")]
    backbone: Option<String>,

    /// Run whose backbone and method are used, so that the training can start from it [default: none]
    #[arg(long, value_name = "RUN")]
    warm_start: Option<PathBuf>,

    /// File to write [default: the first task's name and `.toml`]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &InitArgs, console: &Console) -> Result<()> {
    let tasks = files::tasks(&args.data)?;
    let default = || PathBuf::from(format!("{}.toml", tasks.first().map_or("task", |task| &task.name)));
    let output = args.output.clone().unwrap_or_else(default);
    if output.exists() && !args.force {
        bail!(
            "`{}` exists already\nhint: name another file with `--output`, or replace it with `--force`",
            output.display()
        );
    }
    check_output(&output)?;
    let plan = plan(args)?;
    let tokens = tokens_of(&plan.backbone, console);
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = plan.configuration(&tasks, tokens.as_ref(), folder)?;
    write_atomic(&output, |w| w.write_all(text.as_bytes()))?;
    let warm = plan.warm_start.iter().map(|run| format!(" --warm-start {}", quoted(Path::new(run))));
    let warm = warm.collect::<String>();
    console.note(format_args!("`hl-train --config {}{warm}` trains with it", quoted(&output)));
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let record = json!({ "config": output, "tasks": names });
    console.record(args.format.output_format, &record, || output.display().to_string())
}

fn plan(args: &InitArgs) -> Result<Plan> {
    if let Some(run) = &args.warm_start {
        return Ok(Plan::from_run(&Run::open(run)?, run));
    }
    let mut backbone = BackboneConfig::default();
    backbone.choose(args.backbone.as_deref().unwrap_or("t5-base"))?;
    Ok(Plan::on(backbone))
}

/// The tokenizer of a backbone that is on this machine. Nothing is downloaded for lengths alone.
fn tokens_of(backbone: &BackboneConfig, console: &Console) -> Option<Tokens> {
    let found = match backbone.locate_offline() {
        Ok(located) => tokens(&located.folder).map_err(|error| with_causes(&error)),
        // The reason would name settings for downloads, which the user did not choose.
        Err(_) => Err(
            "it is not on this machine\nhint: let a training download it, then repeat `init` with `--force`"
                .to_owned(),
        ),
    };
    let note = |why: String| {
        console.note(format_args!(
            "`max_source_len` and `max_target_len` are defaults, because the backbone's tokenizer cannot be read: {why}"
        ));
    };
    found.map_err(note).ok()
}
