//! Sentences and target tokens per second of training steps on the seven corpora of the paper, and where the time goes;
//! `bench/train/corpora.sh` runs it beside PyTorch.
//!
//! `... --example corpora_speed -- BACKBONE DATA FILE STEPS` writes what `bench/train/peer.py --data` trains on: the ids of
//! all training sentences, and the batches of the task sampler.
//!
//! `... --example corpora_speed -- BACKBONE DATA train STEPS` trains on these batches.
#![allow(clippy::print_stdout)] // The figures are its data.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::corpus::known;
use hyperloader_core::method::HyperConfig;
use hyperloader_core::text::sentt::SentT;
use hyperloader_trainer::config::{BackboneConfig, Config, TrainingConfig};
use hyperloader_trainer::data::{Batch, Example, TaskData, TaskSource};
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::T5Tagger;
use hyperloader_trainer::optimizer::{AbsentGradient, AdamW};
use hyperloader_trainer::sampler::TaskSampler;
use serde_json::json;
use tch::Device;

#[path = "../../bench/peak_memory.rs"]
mod peak_memory;

const BATCH: usize = 32;
const SEED: u64 = 1;
/// Steps that are not counted; `bench/train/peer.py` leaves out as many.
const WARM_UP: usize = 4;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let backbone = T5Backbone::open(&PathBuf::from(next("the backbone's folder")?), false)?;
    let data = PathBuf::from(next("the folder of the corpora")?);
    let target = next("the file or `train`")?;
    let steps: usize = next("the number of steps")?.parse()?;
    let config = configuration(&backbone, &data)?;
    let codec = SentT::from_file(backbone.tokenizer())?;
    let tasks = config
        .tasks
        .iter()
        .map(|(task, spec)| TaskSource { task, spec, codec: &codec, config: &config }.load_all())
        .collect::<Result<Vec<_>, _>>()?;
    let sizes: Vec<usize> = tasks.iter().map(|task| task.train.len()).collect();
    let sampler = TaskSampler::new(&sizes, config.training.temperature, SEED);
    if target == "train" {
        return train(&backbone, &tasks, sampler, steps);
    }
    write(&tasks, sampler, Path::new(&target), steps)
}

fn configuration(backbone: &T5Backbone, data: &Path) -> Result<Config> {
    Ok(Config {
        preset: None,
        runs: PathBuf::new(),
        streams: None,
        name: None,
        seed: SEED,
        backbone: BackboneConfig { path: Some(backbone.folder().to_owned()), ..BackboneConfig::default() },
        method: HyperConfig { reduction_factor: 8, ..HyperConfig::default() }.into(),
        training: TrainingConfig::default(),
        tasks: known::in_folder(data)?.into_iter().collect(),
    })
}

/// Writes the ids of the training sentences of each task, and the batches: the index of a task and of its sentences.
fn write(tasks: &[TaskData], mut sampler: TaskSampler, file: &Path, steps: usize) -> Result<()> {
    let pairs = |task: &TaskData| {
        let pair = |example: &Example| json!([example.source, example.target]);
        json!({ "name": task.name, "sentences": task.train.loaded().iter().map(pair).collect::<Vec<_>>() })
    };
    let batches: Vec<_> = (0..steps).map(|_| sampler.next_batch(BATCH)).collect();
    let all = json!({ "tasks": tasks.iter().map(pairs).collect::<Vec<_>>(), "batches": batches });
    std::fs::write(file, serde_json::to_vec(&all)?)?;
    Ok(())
}

/// Sums over the counted steps.
#[derive(Default)]
struct Sums {
    sentences: usize,
    target_tokens: i64,
    /// Places of the padded sources and targets, and those that hold a token.
    places: usize,
    tokens: usize,
    data: f64,
    forward: f64,
    backward: f64,
    optimizer: f64,
}

fn train(backbone: &T5Backbone, tasks: &[TaskData], mut sampler: TaskSampler, steps: usize) -> Result<()> {
    tch::set_num_threads(std::thread::available_parallelism()?.get() as i32);
    let method = HyperConfig { reduction_factor: 8, ..HyperConfig::default() }.into();
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    let mut tagger = T5Tagger::new(backbone, &method, &names, Start::Seed(SEED), Device::Cpu)?;
    let mut optimizer = AdamW::new(&tagger.parameters, 0.0, AbsentGradient::Skip);
    let mut sums = Sums::default();
    for step in 0..steps {
        if step == WARM_UP {
            sums = Sums::default();
        }
        let began = Instant::now();
        let (task, indices) = sampler.next_batch(BATCH);
        let examples: Vec<&Example> = indices.iter().map(|&i| &tasks[task].train.loaded()[i]).collect();
        let batch = Batch::new(&examples, tagger.t5.config.pad_token_id, Device::Cpu);
        let data = began.elapsed().as_secs_f64();
        let loss = tagger.loss(&batch, &names[task], 0.1, true)?;
        let forward = began.elapsed().as_secs_f64();
        tagger.parameters.backward(&loss.surrogate);
        let backward = began.elapsed().as_secs_f64();
        optimizer.step(&mut tagger.parameters, 3e-4, 1.0);
        sums.optimizer += began.elapsed().as_secs_f64() - backward;
        sums.backward += backward - forward;
        sums.forward += forward - data;
        sums.data += data;
        sums.sentences += BATCH;
        sums.target_tokens += loss.tokens;
        sums.places += batch.input_ids.numel() + batch.target_ids.numel();
        sums.tokens +=
            examples.iter().map(|example| example.source.len() + example.target.len()).sum::<usize>();
    }
    let Sums { data, forward, backward, optimizer, .. } = sums;
    let seconds = data + forward + backward + optimizer;
    println!(
        "{}",
        json!({ "engine": "hl-train", "steps": steps - WARM_UP, "seconds": seconds,
            "sentences_per_s": sums.sentences as f64 / seconds,
            "target_tokens_per_s": sums.target_tokens as f64 / seconds,
            "padding": 1.0 - sums.tokens as f64 / sums.places as f64,
            "data_s": data, "forward_and_head_s": forward, "backward_s": backward, "optimizer_s": optimizer,
            "peak_mib": peak_memory::kib()? / 1024 })
    );
    Ok(())
}
