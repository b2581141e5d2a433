//! `cargo xtask demo`: the three programs, one after the other, on bundled data.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::commands::{self, output, root};
use crate::{programs, setup};

/// Sentences of the mTOP excerpt's test split, which training never sees.
const HELD_OUT: &str = "fixtures/demo/sentences.txt";
/// Minutes on two cores are too few for the nano backbone from a cold start.
const COMMITTED_RUN: &str = "fixtures/runs/nano";
/// The learning rate that the committed run had reached when it was stopped.
const LEARNING_RATE: &str = "1e-4";
/// One to three minutes on two cores. The mean F1 of the tasks' validation sentences is no higher after 600.
const STEPS: u64 = 300;

pub(crate) fn run(steps: Option<u64>) -> Result<()> {
    programs::run(&programs::Options::default())?;
    eprintln!("training is warm-started from the committed run `{COMMITTED_RUN}`");
    let mut train = program("hl-train");
    train.args(["--warm-start", COMMITTED_RUN, "--learning-rate", LEARNING_RATE]);
    train.args(["--steps", &steps.unwrap_or(STEPS).to_string()]);
    commands::run(&mut train)?;
    // A repeated demo replaces its file.
    let force = root().join("mtop.onnx").exists().then_some("--force");
    commands::run(program("hl-export").args(["--task", "mtop"]).args(force))?;

    let sentences = std::fs::read_to_string(root().join(HELD_OUT)).context(HELD_OUT)?;
    let tag = |backend: &str| {
        output(
            program("hl-run")
                .args(["--model", "mtop.onnx", "--backend", backend, "--output-format", "jsonl"])
                .args(sentences.lines()),
        )
    };
    let (ort, tract) = (tag("ort")?, tag("tract")?);
    ensure!(ort == tract, "ONNX Runtime and tract disagree:\n{ort}\n{tract}");
    commands::run(program("hl-run").args(["--model", "mtop.onnx"]).args(sentences.lines()))?;
    eprintln!("ONNX Runtime and tract tag these {} held-out sentences alike", sentences.lines().count());
    Ok(())
}

fn program(name: &str) -> Command {
    setup::program("release", name)
}
