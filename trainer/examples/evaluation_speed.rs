//! Seconds of an evaluation that decodes greedily and of one that verifies drafts, on the test sentences of a run's tasks. It
//! fails if the ids differ.
//!
//! `cargo run --release --package hyperloader-trainer --example evaluation_speed -- RUN CONFIG [SENTENCES] [FILE]`: a run's
//! folder, a configuration that has its tasks' corpora, the number of sentences of each task (all), and a file for the source
//! ids and the target ids of each sentence, as JSON Lines. `bench/train/evaluation.sh` runs it beside transformers.
#![allow(clippy::print_stdout)] // The figures are its data.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hyperloader_core::backbone::Backbone;
use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::{Batch, Example, TaskSource};
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::parameters::Parameters;
use serde_json::json;
use tch::Device;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().with_context(|| format!("{what} is missing"));
    let run = Run::open(&PathBuf::from(next("the run's folder")?))?;
    let config = Config::from_file(&PathBuf::from(next("the configuration")?))?;
    let most = arguments.next().map_or(Ok(usize::MAX), |number| number.parse())?;
    let mut file = arguments.next().map(File::create).transpose()?;
    let backbone =
        run.backbone(None)?.downcast::<T5Backbone>().ok().context("the run's backbone is not a T5")?;
    let codec = SentT::from_file(backbone.tokenizer())?;
    let parameters = Parameters::from_tensors(&run.read(run.checkpoint(Which::Best)?)?, Device::Cpu);
    let names: Vec<String> = run.manifest.tasks.iter().map(|t| t.name.clone()).collect();
    let method = &run.manifest.method;
    let tagger = T5Tagger::new(&backbone, method, &names, Start::Checkpoint(parameters), Device::Cpu)?;
    for task in &run.manifest.tasks {
        let spec = config.tasks.get(&task.name).context("the configuration lacks a task of the run")?;
        let source = TaskSource { task: &task.name, spec, codec: &codec, config: &config };
        let mut examples = source.load_all()?.test;
        examples.truncate(most);
        examples.sort_by_key(|example| example.source.len());
        let grammar = TargetGrammar::new(&codec, &task.labels)?;
        let evaluation = Evaluation { tagger: &tagger, task: &task.name, grammar, config: &config };
        let (greedy_seconds, greedy) = timed(&examples, |batch| evaluation.greedy(batch))?;
        let (verified_seconds, verified) = timed(&examples, |batch| evaluation.verified(batch))?;
        ensure!(greedy == verified, "the ids of task `{}` differ", task.name);
        for (example, ids) in examples.iter().zip(&verified) {
            let Some(file) = &mut file else { break };
            writeln!(file, "{}", json!({ "source": example.source, "ids": ids }))?;
        }
        println!(
            "{}",
            json!({
                "task": task.name, "sentences": examples.len(), "greedy_seconds": greedy_seconds,
                "verified_seconds": verified_seconds, "ratio": greedy_seconds / verified_seconds,
            })
        );
    }
    Ok(())
}

struct Evaluation<'a> {
    tagger: &'a T5Tagger,
    task: &'a str,
    grammar: TargetGrammar,
    config: &'a Config,
}

impl Evaluation<'_> {
    fn batch(&self, examples: &[&Example]) -> Batch {
        Batch::new(examples, self.tagger.t5.config.pad_token_id, Device::Cpu)
    }

    /// A pass for the loss, then one pass per id.
    fn greedy(&self, examples: &[&Example]) -> Result<Vec<Vec<u32>>> {
        let batch = self.batch(examples);
        let weights = tch::no_grad(|| self.tagger.task_weights(self.task))?;
        tch::no_grad(|| self.tagger.t5.loss(&weights, &batch, 0.1, Mode::Evaluation));
        let max = self.config.training.max_target_len;
        let rows = self.tagger.t5.greedy(&weights, &batch.input_ids, &batch.attention_mask, max);
        let end = |row: &Vec<u32>| row.iter().position(|id| *id == self.grammar.eos());
        Ok(rows.iter().map(|row| row[..end(row).map_or(row.len(), |at| at + 1)].to_vec()).collect())
    }

    fn verified(&self, examples: &[&Example]) -> Result<Vec<Vec<u32>>> {
        let (batch, max) = (self.batch(examples), self.config.training.max_target_len);
        let weights = tch::no_grad(|| self.tagger.task_weights(self.task))?;
        Ok(self.tagger.t5.loss_and_ids(&weights, (&batch, examples), &self.grammar, 0.1, max).1)
    }
}

/// Seconds of `decode` over all examples, and the ids.
fn timed(
    examples: &[Example],
    decode: impl Fn(&[&Example]) -> Result<Vec<Vec<u32>>>,
) -> Result<(f64, Vec<Vec<u32>>)> {
    let examples: Vec<&Example> = examples.iter().collect();
    // The first batch pays for what is allocated once.
    decode(&examples[..examples.len().min(32)])?;
    let began = Instant::now();
    let mut ids = Vec::new();
    for chunk in examples.chunks(64) {
        ids.extend(decode(chunk)?);
    }
    Ok((began.elapsed().as_secs_f64(), ids))
}
