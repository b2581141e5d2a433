//! The examples of Ray and Spark, run on this machine: 100,000 sentences, and a worker that is killed.

use std::process::Command;

use anyhow::Result;

use super::wheel;
use crate::commands::{self, root};

/// Runs the example of `engine`, `ray` or `spark`, and compares all spans with those of `hl-run`.
pub(super) fn check(engine: &str) -> Result<()> {
    super::programs()?;
    let python = wheel::install(&wheel::build()?, engine)?;
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("mtop.onnx");
    wheel::export("mtop", &model)?;
    let mut check = Command::new(&python);
    check.arg(root().join("python/conformance/cluster.py")).arg(engine);
    // The optimized program, whose speed is compared.
    check.arg(root().join("python/hyperloader/bin/hl-run")).arg(&model);
    commands::run(&mut check)
}
