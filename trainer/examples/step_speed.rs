//! Seconds of a training step on a made-up batch, the one that `bench/train/peer.py` times in PyTorch; its floating-point
//! operations beside the rate of a bare product of matrices here; the most memory that was resident.
//!
//! `cargo run --release --package hyperloader-trainer --example step_speed -- BACKBONE [STEPS] [BATCH] [DEVICE] [PRECISION] [DROPOUT]`
#![allow(clippy::print_stdout)] // The figures are its data.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hyperloader_core::backbone::t5::{Stack, T5Backbone, T5Config};
use hyperloader_core::method::HyperConfig;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::device;
use hyperloader_trainer::model::t5::T5Tagger;
use hyperloader_trainer::model::{MatrixPrecision, Placement, Start};
use hyperloader_trainer::optimizer::{AbsentGradient, AdamW};
use serde_json::json;
use tch::{Device, Kind, Tensor};

#[path = "../../bench/peak_memory.rs"]
mod peak_memory;

const SOURCE_LEN: i64 = 30;
const TARGET_LEN: i64 = 24;
const REDUCTION: usize = 8;
const RANK: usize = 8;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("the backbone's folder is missing")?);
    let steps: usize = arguments.next().as_deref().unwrap_or("30").parse()?;
    let rows: i64 = arguments.next().as_deref().unwrap_or("32").parse()?;
    let device = device::resolve(arguments.next().as_deref().unwrap_or("auto").parse()?, 0)?;
    let precision = match arguments.next().as_deref() {
        None | Some("f32") => MatrixPrecision::F32,
        Some("bf16") => MatrixPrecision::Bf16,
        Some(other) => bail!("precision is `{other}`, expected `f32` or `bf16`"),
    };
    tch::set_num_threads(std::thread::available_parallelism()?.get() as i32);

    let backbone = T5Backbone::open(&folder, false)?;
    let tasks = ["a", "b", "c"].map(str::to_owned);
    let method = HyperConfig { reduction_factor: REDUCTION, ..HyperConfig::default() }.into();
    let mut tagger =
        T5Tagger::new(&backbone, &method, &tasks, Start::Seed(1), Placement { device, precision })?;
    if let Some(dropout) = arguments.next() {
        tagger.t5.config.dropout_rate = dropout.parse()?;
    }
    let mut optimizer = AdamW::new(&tagger.parameters, 0.0, AbsentGradient::Skip);
    let ids = |len: i64, factor: i64| {
        let numbers: Vec<i64> = (0..rows * len).map(|i| (i * factor) % 31_999 + 1).collect();
        Tensor::from_slice(&numbers).view([rows, len]).to_device(device)
    };
    let input_ids = ids(SOURCE_LEN, 37);
    let batch = Batch { attention_mask: input_ids.ones_like(), input_ids, target_ids: ids(TARGET_LEN, 41) };
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
    let flop = flop(&tagger.t5.config, rows as usize);
    let rate = product_rate(&tagger.t5.config, rows, device);
    println!(
        "{}",
        json!({ "engine": "hl-train", "device": format!("{device:?}"), "precision": precision, "batch": rows,
            "median_s": whole,
            "forward_and_head_s": forward, "backward_s": backward, "optimizer_s": update,
            "gflop": flop / 1e9, "gflop_per_s": flop / whole / 1e9, "product_gflop_per_s": rate / 1e9,
            "peak_mib": peak_memory::kib()? / 1024 })
    );
    Ok(())
}

/// Floating-point operations of a step, forward and backward. Left out, as under 2 % of the whole: the hypernetworks, and
/// all that is done element by element.
fn flop(config: &T5Config, rows: usize) -> f64 {
    let (source, target) = (rows * SOURCE_LEN as usize, rows * TARGET_LEN as usize);
    let (d, inner) = (config.d_model, config.inner_dim());
    // Two for each weight and token, forward and again for the gradient of the input: the weights are frozen.
    let frozen: usize = config
        .tensors()
        .iter()
        .filter(|(name, _)| name.contains(".block.") && name.ends_with(".weight"))
        .filter(|(name, shape)| shape.len() == 2 && !name.contains("relative_attention_bias"))
        .map(|(name, shape)| {
            let of_source = name.starts_with("encoder")
                || name.contains("EncDecAttention.k")
                || name.contains("EncDecAttention.v");
            2 * 2 * shape[0] * shape[1] * if of_source { source } else { target }
        })
        .sum();
    let head = 2 * 2 * config.vocab_size * d * target;
    // What is generated gets a gradient, too. An adapter has two matrices, LoRA two for each of queries and values.
    let adapter = 3 * 2 * 2 * d * (d / REDUCTION);
    let lora = 3 * 2 * RANK * (d + inner);
    // Scores and weighted sums.
    let attention = |queries: usize, keys: i64| 3 * 2 * 2 * queries * keys as usize * inner;
    let encoder = source * (2 * adapter + 2 * lora) + attention(source, SOURCE_LEN);
    let decoder = target * (2 * adapter + 3 * lora)
        + source * lora
        + attention(target, TARGET_LEN)
        + attention(target, SOURCE_LEN);
    (frozen + head + config.layers(Stack::Encoder) * encoder + config.layers(Stack::Decoder) * decoder) as f64
}

/// Floating-point operations a second of the product that a feed-forward layer makes.
fn product_rate(config: &T5Config, rows: i64, device: Device) -> f64 {
    let (tokens, d, ff) = (rows * SOURCE_LEN, config.d_model as i64, config.d_ff as i64);
    let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, device));
    let (x, weight) = (random([tokens, d]), random([ff, d]));
    let mut seconds: Vec<f64> = (0..30)
        .map(|_| {
            let began = Instant::now();
            let product = x.matmul(&weight.tr());
            // Reading a number waits for a GPU.
            product.double_value(&[0, 0]);
            began.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (2 * tokens * d * ff) as f64 / seconds[seconds.len() / 2]
}
