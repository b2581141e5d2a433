//! Writes a run of random numbers on a backbone of random numbers, to time exports of any size.
//!
//! ```text
//! $ cargo run --release --package hyperloader-exporter --example random_run -- t5-base /tmp/t5-base
//! 222903552 parameters in `/tmp/t5-base/backbone`, a run of task `mtop` in `/tmp/t5-base/runs`
//! ```
//!
//! The first argument is a preset or a `config.json`; a third one names a variant of a method (`hyperloader` without it).

#![allow(clippy::print_stderr)]

#[path = "../tests/common/random_run.rs"]
mod random_run;

use std::path::Path;

use anyhow::{Context, Result};
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{MethodConfig, variant};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let preset = arguments.next().context("usage: random_run PRESET FOLDER")?;
    let folder = arguments.next().context("usage: random_run PRESET FOLDER")?;
    let t5 = match preset.ends_with(".json") {
        true => T5Config::from_file(Path::new(&preset))?,
        false => T5Config::preset(&preset)?,
    };
    let method = match arguments.next() {
        Some(name) => variant(&name).with_context(|| format!("no method `{name}`"))?,
        None => MethodConfig::default(),
    };
    random_run::write(Path::new(&folder), &t5, &method, &["mtop"]);
    let parameters: usize = t5.tensors().values().map(|shape| shape.iter().product::<usize>()).sum();

    eprintln!("{parameters} parameters in `{folder}/backbone`, a run of task `mtop` in `{folder}/runs`");
    Ok(())
}
