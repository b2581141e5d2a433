//! `hl-train params`.

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;
use hyperloader_core::method::variants;
use hyperloader_core::t5::T5Config;

use super::OutputFormat;
use crate::params::{ParameterCount, count};

#[derive(Debug, Args)]
pub(super) struct ParamsArguments {
    /// Shape of a published checkpoint, such as `t5-base`
    #[arg(long, value_name = "NAME", default_value = "t5-base")]
    backbone_preset: String,
    /// Method, or one of HyperLoader's ablations
    #[arg(long, value_name = "NAME", default_value = "hyperloader", value_parser = names())]
    method: String,
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 7)]
    tasks: u32,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
}

/// Names of all variants, for help, errors and completion.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(variants().iter().map(|variant| variant.name))
}

pub(super) fn run(arguments: &ParamsArguments) -> Result<()> {
    let t5 = T5Config::preset(&arguments.backbone_preset)?;
    let tasks: Vec<String> = (1..=arguments.tasks).map(|n| format!("task-{n}")).collect();
    let all = variants();
    let variant = all.iter().find(|variant| variant.name == arguments.method);
    let method = &variant.context("every name that is accepted has its hyper-parameters")?.config;
    method.validate(&t5, &tasks)?;
    let counted = count(method, &t5, &tasks);
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&counted)?),
        OutputFormat::Text => {
            let ParameterCount { trainable, total, ratio } = counted;
            println!("trainable  {trainable}\ntotal      {total}\nratio      {:.4} %", 100.0 * ratio);
        }
    }
    Ok(())
}
