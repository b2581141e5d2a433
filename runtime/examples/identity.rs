//! Compares decoding modes over the test sentences of whole corpora: whether the ids of `verified` are those of `greedy`, how
//! many passes each source of drafts takes, and what `constrained` and `draft` change.
//!
//! ```sh
//! cargo run --release --example identity -- --models DIR --data DIR --backend ort --batch-size 32
//! ```
//!
//! `--models` holds a `TASK.onnx` for each corpus in `--data`. Sentences beyond a tagger's limits are left out and
//! counted. Each difference is listed with the difference of the two ids' logits: 0 is an exact tie.
#![allow(clippy::print_stdout)] // Its result is data on stdout.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use hyperloader_core::corpus::{Sentence, Split, known};
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_core::text::metrics::evaluate;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::spans::{SpanMode, sbio_to_bio};
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_runtime::{
    Alignment, Backend, BackendKind, BackendOptions, DraftFrom, Mode, ModelFile, Tagger, TaggerOptions, Value,
};
use serde::Serialize;

#[derive(Parser)]
struct Arguments {
    /// Folder of taggers, `TASK.onnx`
    #[arg(long)]
    models: PathBuf,
    /// Folder of corpora
    #[arg(long)]
    data: PathBuf,
    /// Tasks [default: all that have a tagger and a corpus]
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<String>,
    #[arg(long, default_value = "ort")]
    backend: BackendKind,
    #[arg(long, default_value = "32")]
    batch_size: usize,
    #[arg(long, default_value = "1")]
    threads: usize,
    /// Sentences of each task [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// Only `greedy` and `verified` with the best drafter
    #[arg(long)]
    brief: bool,
}

/// The result of one mode on one corpus.
#[derive(Serialize)]
struct Row {
    task: String,
    backend: String,
    batch_size: usize,
    mode: String,
    sentences: usize,
    skipped: usize,
    /// Sentences whose ids are not those of `greedy`.
    different: usize,
    passes_per_sentence: f64,
    fallbacks: usize,
    f1: f64,
    seconds: f64,
    /// Of each difference, `[sentence, position, logit of greedy's id minus logit of the other's]`.
    margins: Vec<(usize, usize, f64)>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    for (task, spec) in known::in_folder(&arguments.data)? {
        let path = arguments.models.join(format!("{task}.onnx"));
        if !path.is_file() || !(arguments.tasks.is_empty() || arguments.tasks.contains(&task)) {
            continue;
        }
        let mut sentences = spec.load_split(Split::Test)?;
        sentences.truncate(arguments.limit.unwrap_or(usize::MAX));
        compare(&arguments, &task, &path, &sentences).with_context(|| format!("task `{task}`"))?;
    }
    Ok(())
}

fn compare(arguments: &Arguments, task: &str, path: &Path, sentences: &[Sentence]) -> Result<()> {
    let metadata = ModelFile::open(path)?.metadata().clone();
    let codec = SentT::from_bytes(metadata.tokenizer.as_bytes())?;
    let grammar = TargetGrammar::new(&codec, &metadata.labels)?;
    let open = |mode, draft_from| {
        let backend = BackendOptions {
            kind: arguments.backend,
            threads: Some(arguments.threads),
            ..BackendOptions::default()
        };
        let batch_size = arguments.batch_size;
        Tagger::open(
            path,
            &TaggerOptions { backend, batch_size, mode, draft_from, ..TaggerOptions::default() },
        )
    };
    let greedy = open(Mode::Greedy, DraftFrom::Outside)?;
    let taken = |sentence: &Sentence| Some((greedy.source_ids(&sentence.words).ok()?, sentence.tags.clone()));
    let (sources, gold): (Vec<Vec<u32>>, Vec<Vec<String>>) = sentences.iter().filter_map(taken).unzip();
    drop(greedy);
    let mut expected = vec![];
    for (name, mode, from) in ways(arguments, metadata.drafter.is_some()) {
        let tagger = open(mode, from)?;
        let began = Instant::now();
        let ids = tagger.target_ids(&sources)?;
        let seconds = began.elapsed().as_secs_f64();
        if mode == Mode::Greedy {
            expected.clone_from(&ids);
        }
        let statistics = tagger.statistics();
        let different: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] != expected[at]).collect();
        let tags = |(ids, gold): (&Vec<u32>, &Vec<String>)| {
            Ok(sbio_to_bio(&grammar.decode_sbio(&codec, ids, gold.len(), Alignment::Order)?))
        };
        let predicted = ids.iter().zip(&gold).map(tags).collect::<Result<Vec<_>>>()?;
        let part = |at: usize| {
            let (position, margin) = margin(path, tagger.backend(), &sources[at], [&expected[at], &ids[at]])?;
            Ok((at, position, margin))
        };
        let margins = match mode {
            Mode::Verified => different.iter().map(|&at| part(at)).collect::<Result<Vec<_>>>()?,
            _ => vec![],
        };
        let row = Row {
            task: task.to_owned(),
            backend: arguments.backend.to_string(),
            batch_size: arguments.batch_size,
            mode: name.to_owned(),
            sentences: ids.len(),
            skipped: sentences.len() - sources.len(),
            different: different.len(),
            passes_per_sentence: statistics.passes as f64 / statistics.sentences.max(1) as f64,
            fallbacks: statistics.fallbacks,
            f1: evaluate(&gold, &predicted, SpanMode::Default)?.micro.f1,
            seconds,
            margins,
        };
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

/// The modes that are compared, with their names. The first is `greedy`, the reference for the others.
fn ways(arguments: &Arguments, drafter: bool) -> Vec<(&'static str, Mode, DraftFrom)> {
    let all = [
        ("greedy", Mode::Greedy, DraftFrom::Outside),
        ("verified, classifier", Mode::Verified, DraftFrom::Classifier),
        ("verified, jacobi", Mode::Verified, DraftFrom::Jacobi),
        ("verified, outside", Mode::Verified, DraftFrom::Outside),
        ("constrained", Mode::Constrained, DraftFrom::Classifier),
        ("draft", Mode::Draft, DraftFrom::Classifier),
    ];
    let best = if drafter { all[1].0 } else { all[2].0 };
    let wanted = |(name, mode, from): &(&str, Mode, DraftFrom)| match arguments.brief {
        true => *mode == Mode::Greedy || *name == best,
        false => drafter || *mode == Mode::Constrained || *from != DraftFrom::Classifier,
    };
    all.into_iter().filter(wanted).collect()
}

/// The first position at which two targets differ, and the difference of the whole graph's logits of their ids there.
fn margin(path: &Path, backend: &Backend, source: &[u32], targets: [&[u32]; 2]) -> Result<(usize, f64)> {
    let [one, other] = targets;
    let position = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let start = ModelFile::open(path)?.metadata().decoder_start_token_id;
    let row = |ids: Vec<i64>| Value::from_i64s(&[1, ids.len()], ids);
    let before = std::iter::once(start).chain(one[..position].iter().map(|id| i64::from(*id))).collect();
    let outputs = backend.open_file(path)?.run(&[
        (INPUT_IDS, &row(source.iter().map(|id| i64::from(*id)).collect())?),
        (ATTENTION_MASK, &row(vec![1; source.len()])?),
        (DECODER_INPUT_IDS, &row(before)?),
    ])?;
    let logits = outputs[0].f32s()?;
    let last = &logits[logits.len() - logits.len() / (position + 1)..];
    let logit = |ids: &[u32]| ids.get(position).map_or(f64::NAN, |id| f64::from(last[*id as usize]));
    Ok((position, logit(one) - logit(other)))
}
