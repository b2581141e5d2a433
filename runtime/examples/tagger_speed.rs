//! Times the library on the first sentences of a corpus's test split, alone and in batches, and prints JSON.
//!
//! ```text
//! $ cargo run --release --package hyperloader-runtime --example tagger_speed -- --model mtop.onnx \
//!     --layout mtop --corpus test.txt --batch-sizes 1,32
//! {"engine":"hl-run ort greedy","load_s":0.9,"batches":{"1":{"seconds":40.1,"latencies":[0.2,...]},...},"ids":[[...]],...}
//! ```
//!
//! `--sources` prints the sentences with their source ids instead, one per line, for engines that take ids.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use hyperloader_core::corpus::{CorpusSpec, Layout, Sentence};
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_core::text::metrics::evaluate;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::SpanMode;
use hyperloader_runtime::{
    BackendKind, BackendOptions, Device, Mode, ModelFile, Tagged, Tagger, TaggerOptions, Value,
};
use serde_json::json;

#[path = "../../bench/peak_memory.rs"]
mod peak_memory;

/// Sentences that are tagged before the measurement.
const WARM_UP: usize = 3;

/// Time the library on the first sentences of a test split
#[derive(Debug, Parser)]
struct Args {
    /// The tagger
    #[arg(long, value_name = "FILE")]
    model: PathBuf,

    /// The test split
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Its layout
    #[arg(long)]
    layout: Layout,

    /// How many of its sentences
    #[arg(long, default_value = "200", value_name = "N")]
    limit: usize,

    /// Print the sentences with their source ids and time nothing
    #[arg(long)]
    sources: bool,

    /// Sentences a batch, one measurement for each
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "N,...")]
    batch_sizes: Vec<usize>,

    /// Threads of one operation
    #[arg(long, default_value = "2", value_name = "N")]
    threads: usize,

    /// Runtime that runs the graph
    #[arg(long, default_value_t)]
    backend: BackendKind,

    /// Where it runs: `cpu`, `cuda`, `cuda:N`
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: Device,

    /// How target ids are found
    #[arg(long, default_value_t)]
    decode: Mode,

    /// ONNX Runtime's library
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let corpus = CorpusSpec::new(args.layout, "", None, "");
    let (sentences, gold): (Vec<Vec<String>>, Vec<Vec<String>>) = corpus
        .read_file(&args.corpus)?
        .0
        .into_iter()
        .take(args.limit)
        .map(|Sentence { words, tags, .. }| (words, tags))
        .unzip();
    let file = ModelFile::open(&args.model)?;
    let codec = SentT::from_bytes(file.metadata().tokenizer.as_bytes())?;
    let max_target_len = file.metadata().max_target_len;
    drop(file);
    let sources = sentences.iter().map(|words| codec.encode_source(words));
    let sources: Vec<Vec<u32>> = sources.collect::<Result<_, _>>()?;
    if !args.sources {
        return measure(&args, &sentences, &gold, &sources);
    }
    for (words, source) in sentences.iter().zip(&sources) {
        println!("{}", json!({"words": words, "source": source, "max_target_len": max_target_len}));
    }
    Ok(())
}

fn measure(args: &Args, sentences: &[Vec<String>], gold: &[Vec<String>], sources: &[Vec<u32>]) -> Result<()> {
    let began = Instant::now();
    let mut tagger = open(args, 1)?;
    let load_s = began.elapsed().as_secs_f64();
    tagger.tag_words(&sentences[..WARM_UP.min(sentences.len())])?;

    let mut batches = BTreeMap::new();
    let mut peak_kib_batch_1 = None;
    for &size in &args.batch_sizes {
        if size == 1 {
            batches.insert(size, one_by_one(&tagger, sentences)?);
            peak_kib_batch_1 = Some(peak_memory::kib()?);
        } else {
            // Two taggers in memory would be measured as one.
            drop(tagger);
            tagger = open(args, size)?;
            tagger.tag_words(&sentences[..size.min(sentences.len())])?;
            let began = Instant::now();
            tagger.tag_words(sentences)?;
            batches.insert(size, json!({"seconds": began.elapsed().as_secs_f64()}));
        }
    }
    let peak_kib = peak_memory::kib()?;
    let ids = tagger.target_ids(sources)?;
    let tagged: Vec<Tagged> = tagger.tag_words(sentences)?.into_iter().collect::<Result<_, _>>()?;
    let predicted: Vec<Vec<String>> = tagged.iter().map(|sentence| sentence.tags.clone()).collect();
    let scores = evaluate(gold, &predicted, SpanMode::Default)?.micro;
    let floor_s = match args.batch_sizes.contains(&1) {
        true => Some(floor(args, &tagger, sources, &ids)?),
        false => None,
    };
    let record = json!({
        "engine": format!("hl-run {} {}", tagger.backend().kind(), args.decode),
        "load_s": load_s,
        "batches": batches,
        "peak_kib_batch_1": peak_kib_batch_1,
        "peak_kib": peak_kib,
        "floor_s": floor_s,
        "ids": ids,
        "spans": tagged.iter().map(|sentence| &sentence.spans).collect::<Vec<_>>(),
        "f1": scores.f1,
        "statistics": tagger.statistics(),
    });
    println!("{record}");
    Ok(())
}

fn open(args: &Args, batch_size: usize) -> Result<Tagger> {
    let backend = BackendOptions {
        kind: args.backend,
        device: args.device,
        threads: Some(args.threads),
        ort_lib: args.ort_lib.clone(),
        ..BackendOptions::default()
    };
    let options = TaggerOptions { backend, batch_size, mode: args.decode, ..TaggerOptions::default() };
    Ok(Tagger::open(&args.model, &options)?)
}

/// From words to spans, one sentence at a time.
fn one_by_one(tagger: &Tagger, sentences: &[Vec<String>]) -> Result<serde_json::Value> {
    let began = Instant::now();
    let mut latencies = Vec::with_capacity(sentences.len());
    for words in sentences {
        let began = Instant::now();
        let tagged = tagger.tag_words(std::slice::from_ref(words))?;
        latencies.push(began.elapsed().as_secs_f64());
        ensure!(tagged.iter().all(Result::is_ok), "`{}` cannot be tagged", words.join(" "));
    }
    Ok(json!({"seconds": began.elapsed().as_secs_f64(), "latencies": latencies}))
}

/// Seconds of one encoder pass and one decoder pass over the whole target for each sentence: a lower bound for a decoder
/// that verifies its output.
fn floor(args: &Args, tagger: &Tagger, sources: &[Vec<u32>], targets: &[Vec<u32>]) -> Result<f64> {
    let start = ModelFile::open(&args.model)?.metadata().decoder_start_token_id;
    let mut graph = tagger.backend().open_file(&args.model)?;
    let row = |ids: Vec<i64>| Value::from_i64s(&[1, ids.len()], ids);
    let wide = |ids: &[u32]| ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>();
    let mut run = |source: &[u32], target: &[u32]| -> Result<f64> {
        let before = [&[start], &wide(&target[..target.len().saturating_sub(1)])[..]].concat();
        let inputs = [row(wide(source))?, row(vec![1; source.len()])?, row(before)?];
        let began = Instant::now();
        graph.run(&[
            (INPUT_IDS, &inputs[0]),
            (ATTENTION_MASK, &inputs[1]),
            (DECODER_INPUT_IDS, &inputs[2]),
        ])?;
        Ok(began.elapsed().as_secs_f64())
    };
    let mut pairs = sources.iter().zip(targets);
    for (source, target) in pairs.clone().take(WARM_UP) {
        run(source, target)?;
    }
    pairs.try_fold(0.0, |sum, (source, target)| Ok(sum + run(source, target)?))
}
