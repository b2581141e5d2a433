//! candle's T5, one sentence at a time: it takes no padding mask, so there is no batch to try.
//!
//! ```text
//! $ candle-peer HF_FOLDER SENTENCES.jsonl LIMIT MAX_TARGET_LEN
//! {"engine":"candle","load_s":1.9,"batches":{"1":{"seconds":...,"latencies":[...]}},"ids":[[...]],"peak_kib":...}
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::t5::{Config, T5ForConditionalGeneration};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, sentences, limit, max_target_len] = &arguments[..] else {
        anyhow::bail!("usage: candle-peer HF_FOLDER SENTENCES.jsonl LIMIT MAX_TARGET_LEN");
    };
    let (limit, max_target_len): (usize, usize) = (limit.parse()?, max_target_len.parse()?);
    let sources = sources(Path::new(sentences), limit)?;

    let began = Instant::now();
    let (mut model, config) = load(Path::new(folder))?;
    let load_s = began.elapsed().as_secs_f64();

    for source in sources.iter().take(3) {
        generate(&mut model, &config, source, max_target_len)?;
    }
    let (mut ids, mut latencies) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for source in &sources {
        let began = Instant::now();
        ids.push(generate(&mut model, &config, source, max_target_len)?);
        latencies.push(began.elapsed().as_secs_f64());
    }
    let seconds = began.elapsed().as_secs_f64();
    let batches = BTreeMap::from([("1", json!({"seconds": seconds, "latencies": latencies}))]);
    let peak = peak_kib()?;
    println!(
        "{}",
        json!({"engine": "candle", "load_s": load_s, "batches": batches, "ids": ids,
               "peak_kib_batch_1": peak, "peak_kib": peak})
    );
    Ok(())
}

fn sources(path: &Path, limit: usize) -> Result<Vec<Vec<u32>>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let source = |line: &str| -> Result<Vec<u32>> {
        let line: Value = serde_json::from_str(line)?;
        Ok(serde_json::from_value(line["source"].clone())?)
    };
    text.lines().take(limit).map(source).collect()
}

fn load(folder: &Path) -> Result<(T5ForConditionalGeneration, Config)> {
    let config: Config = serde_json::from_str(&fs::read_to_string(folder.join("config.json"))?)?;
    // Read, not mapped: a map would have the first sentences pay for loading.
    let bytes = fs::read(folder.join("model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
    Ok((T5ForConditionalGeneration::load(weights, &config)?, config))
}

/// Greedy ids of one source, with `</s>` where it comes.
fn generate(
    model: &mut T5ForConditionalGeneration,
    config: &Config,
    source: &[u32],
    max_target_len: usize,
) -> Result<Vec<u32>> {
    model.clear_kv_cache();
    let encoded = model.encode(&Tensor::new(source, &Device::Cpu)?.unsqueeze(0)?)?;
    let mut last = config.decoder_start_token_id.unwrap_or(config.pad_token_id) as u32;
    let mut target = Vec::new();
    while target.len() < max_target_len && target.last() != Some(&(config.eos_token_id as u32)) {
        let input = Tensor::new(&[last], &Device::Cpu)?.unsqueeze(0)?;
        let logits = model.decode(&input, &encoded)?.squeeze(0)?;
        last = logits.argmax(0)?.to_scalar::<u32>()?;
        target.push(last);
    }
    Ok(target)
}

/// Peak resident memory of this process in KiB.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
