//! Largest difference of the logits of two devices, over the held-out sentences of a run's tasks.
//!
//! `cargo run --release --package hyperloader-trainer --example device_parity -- RUN CONFIG DEVICE`: a run's folder, a
//! configuration that has its tasks' corpora, and the device that is compared with the CPU.
#![allow(clippy::print_stdout)] // The figures are its data.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::text::sentt::SentT;
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Batch, Example, TaskSource};
use hyperloader_trainer::device;
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::parameters::Parameters;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const SENTENCES: usize = 32;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let run = Run::open(&PathBuf::from(next("the run's folder")?))?;
    let config = Config::from_file(&PathBuf::from(next("the configuration")?))?;
    let other = device::resolve(next("the device")?.parse()?, 0)?;
    let backbone =
        run.backbone(None)?.downcast::<T5Backbone>().ok().context("the run's backbone is not a T5")?;
    let codec = SentT::from_file(backbone.tokenizer())?;
    let tensors = run.read(run.checkpoint(Which::Best)?)?;
    let names: Vec<String> = run.manifest.tasks.iter().map(|t| t.name.clone()).collect();
    let tagger = |device| {
        let parameters = Parameters::from_tensors(&tensors, device);
        T5Tagger::new(&backbone, &run.manifest.method, &names, Start::Checkpoint(parameters), device)
    };
    let taggers = [tagger(Device::Cpu)?, tagger(other)?];
    for task in &names {
        let spec = config.tasks.get(task).with_context(|| format!("no corpus of task `{task}`"))?;
        let data = TaskSource { task, spec, codec: &codec, config: &config }.load_all()?;
        let chosen: Vec<&Example> = data.test.iter().take(SENTENCES).collect();
        let logits = |tagger: &T5Tagger| -> Result<Tensor> {
            let t5 = &tagger.t5;
            let batch = Batch::new(&chosen, t5.config.pad_token_id, tagger.device());
            let weights = tagger.task_weights(task)?;
            let encoded = t5.encode(&weights, &batch.input_ids, &batch.attention_mask, Mode::Evaluation);
            let inputs = t5.shift_right(&batch.target_ids);
            let states = t5.decode(&weights, &inputs, &encoded, &batch.attention_mask, Mode::Evaluation);
            let real = batch.target_ids.not_equal(t5.config.pad_token_id).unsqueeze(-1);
            Ok((t5.logits(&states) * real).to_device(Device::Cpu).to_kind(Kind::Double))
        };
        let [a, b] = tch::no_grad(|| taggers.each_ref().map(logits));
        let difference = (a? - b?).abs().max().double_value(&[]);
        println!(
            "{}",
            json!({ "task": task, "device": format!("{other:?}"), "largest_difference": difference })
        );
    }
    Ok(())
}
