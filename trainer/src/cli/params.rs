//! `hl-train params`.

use anyhow::{Context, Result};
use clap::Args;
use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{MethodConfig, variant};

use super::{OutputFormat, method_names};
use crate::parameter_count::{ParameterCount, count, count_bert, paper};

#[derive(Debug, Args)]
pub(super) struct ParamsArguments {
    /// Shape of a published checkpoint [default: `t5-base`, or `bert-base` for methods on a BERT]
    #[arg(long, value_name = "NAME")]
    backbone_preset: Option<String>,
    /// Method as published, or a variant of one
    #[arg(long, value_name = "NAME", default_value = "hyperloader", value_parser = method_names())]
    method: String,
    /// Number of tasks
    #[arg(long, value_name = "N", default_value_t = 7)]
    tasks: u16,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output_format: OutputFormat,
}

pub(super) fn run(arguments: &ParamsArguments) -> Result<()> {
    let tasks: Vec<String> = (1..=arguments.tasks).map(|n| format!("task-{n}")).collect();
    let method =
        variant(&arguments.method).context("every name that is accepted has its hyper-parameters")?;
    let preset = |base| arguments.backbone_preset.as_deref().unwrap_or(base);
    let (counted, on_base) = match &method {
        MethodConfig::UnipeltBert(method) => {
            let bert = BertConfig::preset(preset("bert-base"))?;
            method.validate(&bert, &tasks)?;
            (count_bert(method, &bert, &tasks), preset("bert-base") == "bert-base")
        }
        method => {
            let t5 = T5Config::preset(preset("t5-base"))?;
            method.validate(&t5, &tasks)?;
            (count(method, &t5, &tasks), preset("t5-base") == "t5-base")
        }
    };
    match arguments.output_format {
        OutputFormat::Json => println!("{}", serde_json::to_string(&counted)?),
        OutputFormat::Text => {
            let ParameterCount { trainable, total, ratio, all_tasks } = counted;
            println!("trainable  {trainable}\ntotal      {total}\nratio      {:.4} %", 100.0 * ratio);
            if all_tasks != trainable {
                println!("all tasks  {all_tasks}: each of {} has its own", tasks.len());
            }
            if let Some(figures) = paper(&arguments.method).filter(|_| on_base) {
                println!("paper      {figures}");
            }
        }
    }
    Ok(())
}
