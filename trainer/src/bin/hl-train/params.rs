//! `hl-train params`.

use anyhow::{Context, Result};
use clap::Args;
use hyperloader_cli::{Console, FormatArgs};
use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::method::{TaskShape, variant};
use hyperloader_trainer::parameter_count::{ParameterCount, count, paper};

use crate::shared::method_names;

/// Count the trainable and total parameters of a method
///
/// The parameters are counted from the shapes of the tensors that a training would create; no backbone is read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-train params
  hl-train params --method lora --backbone-preset t5-small --tasks 3
  hl-train params --method hyperloader --backbone-preset minilm-l6-h384")]
pub(crate) struct ParamsArgs {
    /// Shape of a published checkpoint, such as `bert-base` [default: `t5-base`, or `bert-base` for `unipelt-bert`]
    #[arg(long, value_name = "NAME")]
    backbone_preset: Option<String>,

    /// Method as published, or a variant of one
    #[arg(long, value_name = "NAME", default_value = "hyperloader", value_parser = method_names())]
    method: String,

    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 7)]
    tasks: u16,

    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &ParamsArgs, console: &Console) -> Result<()> {
    let tasks: Vec<String> = (1..=args.tasks).map(|n| format!("task-{n}")).collect();
    let method = variant(&args.method).context("the method has no published hyper-parameters")?;
    let kinds = method.method().backbones();
    let base = Architecture::preset(kinds, None)?;
    let backbone = match args.backbone_preset.as_deref() {
        Some(name) => Architecture::preset(&BackboneKind::ALL, Some(name))?,
        None => base.clone(),
    };
    method.validate(backbone.config(), &TaskShape::named(&tasks))?;
    let (counted, on_base) = (count(&method, backbone.config(), &tasks), backbone == base);
    let figures = paper(&args.method).filter(|_| on_base);
    console.record(args.format.output_format, &counted, || text(&counted, tasks.len(), figures))
}

fn text(counted: &ParameterCount, tasks: usize, paper: Option<&str>) -> String {
    let ParameterCount { trainable, total, ratio, all_tasks } = counted;
    let mut text = format!("trainable  {trainable}\ntotal      {total}\nratio      {:.4} %", 100.0 * ratio);
    if all_tasks != trainable {
        text += &format!("\nall tasks  {all_tasks}: each of {tasks} has its own");
    }
    if let Some(figures) = paper {
        text += &format!("\npaper      {figures}");
    }
    text
}
