//! Exports a task of the newest run under `runs/` with the library.
//!
//! ```text
//! $ cargo run --package hyperloader-exporter --example export -- mtop
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;

use anyhow::{Context, Result};
use hyperloader_core::run::{Candidates, Run, Which};
use hyperloader_exporter::{Exporter, Options};

fn main() -> Result<()> {
    let task = std::env::args().nth(1).context("usage: export TASK")?;
    let run = Run::newest(Path::new("runs"), Candidates::Trained)?;
    let exporter = Exporter::open(run, Which::Best, None)?;
    let file = format!("{task}.onnx");
    let stage = |description: &str| eprintln!("{description}");
    let exported = exporter.export(&task, Path::new(&file), &Options::default(), &stage)?;
    println!("{exported}");
    Ok(())
}
