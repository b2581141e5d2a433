//! Seconds of a training step on a made-up batch, the one that `bench/train/peer.py` times in PyTorch.
//!
//! `cargo run --release --package hyperloader-trainer --example step_speed -- BACKBONE [STEPS] [BATCH] [DEVICE] [PRECISION]`
#![allow(clippy::print_stdout)] // The figures are its data.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::method::HyperConfig;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::device;
use hyperloader_trainer::model::{Placement, Precision, Tagger};
use hyperloader_trainer::optimizer::{AbsentGradient, AdamW};
use serde_json::json;
use tch::Tensor;

const SOURCE_LEN: i64 = 30;
const TARGET_LEN: i64 = 24;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("the backbone's folder is missing")?);
    let steps: usize = arguments.next().as_deref().unwrap_or("30").parse()?;
    let rows: i64 = arguments.next().as_deref().unwrap_or("32").parse()?;
    let device = device::parse(arguments.next().as_deref().unwrap_or("auto"))?;
    let precision = match arguments.next().as_deref() {
        None | Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some(other) => bail!("precision is `{other}`, expected `f32` or `bf16`"),
    };
    tch::set_num_threads(std::thread::available_parallelism()?.get() as i32);

    let backbone = Backbone::open(&folder, false)?;
    let tasks = ["a", "b", "c"].map(str::to_owned);
    let method = HyperConfig { reduction_factor: 8, ..HyperConfig::default() }.into();
    let mut tagger = Tagger::new(&backbone, &method, &tasks, 1, Placement { device, precision })?;
    let mut optimizer = AdamW::new(&tagger.parameters, 0.0, AbsentGradient::Skip);
    let ids = |len: i64, factor: i64| {
        let numbers: Vec<i64> = (0..rows * len).map(|i| (i * factor) % 31_999 + 1).collect();
        Tensor::from_slice(&numbers).view([rows, len]).to_device(device)
    };
    let input_ids = ids(SOURCE_LEN, 37);
    let batch = Batch { attention_mask: input_ids.ones_like(), input_ids, labels: ids(TARGET_LEN, 41) };
    let mut phases = [const { Vec::new() }; 4];
    for _ in 0..steps {
        let began = Instant::now();
        let loss = tagger.loss(&batch, "a", 0.1, true)?;
        let forward = began.elapsed().as_secs_f64();
        tagger.parameters.backward(&loss.surrogate);
        let backward = began.elapsed().as_secs_f64();
        optimizer.step(&mut tagger.parameters, 3e-4, 1.0);
        let whole = began.elapsed().as_secs_f64();
        for (list, seconds) in phases.iter_mut().zip([whole, forward, backward - forward, whole - backward]) {
            list.push(seconds);
        }
    }
    let median = phases.map(|mut seconds| {
        // The first third warms up.
        let mut rest = seconds.split_off(steps / 3);
        rest.sort_by(f64::total_cmp);
        rest[rest.len() / 2]
    });
    let [whole, forward, backward, update] = median;
    println!(
        "{}",
        json!({ "engine": "hl-train", "device": format!("{device:?}"), "precision": precision, "batch": rows,
            "median_s": whole,
            "forward_and_head_s": forward, "backward_s": backward, "optimizer_s": update })
    );
    Ok(())
}
