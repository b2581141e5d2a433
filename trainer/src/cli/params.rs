//! `hl-train params`.

use anyhow::Result;
use clap::Args;
use hyperloader_core::method::Method;
use hyperloader_core::t5::T5Config;

use super::OutputFormat;
use crate::params::{ParameterCount, count};

#[derive(Debug, Args)]
pub(super) struct ParamsArguments {
    /// Shape of a published checkpoint, such as `t5-base`
    #[arg(long, value_name = "NAME", default_value = "t5-base")]
    backbone_preset: String,
    /// `hyperloader` or `hyperformer++`
    #[arg(long, default_value = "hyperloader")]
    method: MethodArgument,
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 7)]
    tasks: u32,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
}

#[derive(Debug, Clone)]
struct MethodArgument(Method);

impl std::str::FromStr for MethodArgument {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Method::ALL.map(Method::name);
        Method::ALL.into_iter().find(|m| m.name() == name).map(Self).ok_or_else(|| {
            let list = known.map(|n| format!("`{n}`")).join(", ");
            format!("expected one of {list}{}", hyperloader_core::suggest::hint(name, known))
        })
    }
}

pub(super) fn run(arguments: &ParamsArguments) -> Result<()> {
    let t5 = T5Config::preset(&arguments.backbone_preset)?;
    let tasks: Vec<String> = (1..=arguments.tasks).map(|n| format!("task-{n}")).collect();
    let method = arguments.method.0.preset();
    method.validate(&t5, &tasks)?;
    let counted = count(&method, &t5, &tasks);
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&counted)?),
        OutputFormat::Text => {
            let ParameterCount { trainable, total, ratio } = counted;
            println!("trainable  {trainable}\ntotal      {total}\nratio      {:.4} %", 100.0 * ratio);
        }
    }
    Ok(())
}
