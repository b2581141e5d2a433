//! A real pretrained encoder: all-MiniLM-L6-v2 is opened, trained, exported and run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{program, programs, tag};
use crate::commands::{self, output, root};
use crate::setup::backbone::{self, Model};

/// A method whose tasks share weights, one of folded LoRA and adapters, one that trains everything, and the one with gates;
/// with the learning rate of each.
const METHODS: [(&str, &str); 4] =
    [("hyperloader", "3e-4"), ("unipelt", "1e-3"), ("full", "1e-4"), ("unipelt-bert", "1e-3")];
/// Sentences that are tagged.
const SENTENCES: usize = 40;
/// Updates of each training: 960 of the excerpt's 1,500 sentences.
const STEPS: &str = "60";

/// Trains each method, exports float32 and int8, and compares the runtimes.
pub(super) fn check() -> Result<()> {
    backbone::run(Model::Minilm)?;
    programs()?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("hyperloader.toml");
    let corpora = root().join("fixtures/corpora").canonicalize().context("fixtures/corpora")?;
    let minilm = root().join(".native/backbones/minilm").canonicalize().context("minilm")?;
    fs::write(&config, configuration(&minilm, &corpora))?;
    let sentences = fs::read_to_string(corpora.join("snips/test/seq.in")).context("snips")?;
    let input = folder.path().join("snips.txt");
    fs::write(&input, sentences.lines().take(SENTENCES).collect::<Vec<_>>().join("\n") + "\n")?;
    for (method, rate) in METHODS {
        let spans = check_method(method, rate, folder.path(), &input)?;
        eprintln!("{method}: {spans} spans in {SENTENCES} sentences, the same in ONNX Runtime and tract");
    }
    Ok(())
}

fn configuration(backbone: &Path, corpora: &Path) -> String {
    let (backbone, corpora) = (backbone.display(), corpora.display());
    format!(
        "[backbone]\npath = \"{backbone}\"\n[training]\nsteps = {STEPS}\nbatch_size = 16\nwarmup_steps = 5\n\
         label_smoothing = 0.0\nevaluate_every = {STEPS}\n[task.snips]\nlayout = \"seq-in-out\"\n\
         train = \"{corpora}/snips/train\"\nvalid = \"{corpora}/snips/valid\"\n"
    )
}

/// The number of spans that a fresh run of `method` finds.
fn check_method(method: &str, rate: &str, folder: &Path, input: &Path) -> Result<usize> {
    let mut train = program("hl-train");
    train.current_dir(folder).args([
        "--quiet",
        "--name",
        method,
        "--method",
        method,
        "--learning-rate",
        rate,
    ]);
    commands::run(&mut train)?;
    let export = |precision: &str, more: &[&str]| -> Result<_> {
        let model = folder.join(format!("{method}-{precision}.onnx"));
        let mut export = program("hl-export");
        export.current_dir(folder).args(["--quiet", "--task", "snips", "--precision", precision]).args(more);
        output(export.arg("--run").arg(folder.join("runs").join(method)).arg("--output").arg(&model))?;
        Ok(model)
    };
    // The file is verified against the reference model in int8; what that costs a hardly trained model does not matter.
    let (float32, int8) = (export("f32", &[])?, export("int8", &["--max-f1-drop", "1"])?);
    let size = |path: &Path| -> Result<u64> { Ok(fs::metadata(path)?.len()) };
    ensure!(size(&int8)? * 3 < size(&float32)?, "{method}: int8 is {} bytes", size(&int8)?);
    let tagged = |backend: &str| -> Result<Vec<Value>> {
        let mut run = program("hl-run");
        tag(
            run.args(["--quiet", "--output-format", "jsonl", "--backend", backend, "--model"]).arg(&float32),
            input,
        )
    };
    let (ort, tract) = (tagged("ort")?, tagged("tract")?);
    ensure!(ort.len() == SENTENCES && ort == tract, "{method}: ONNX Runtime and tract disagree");
    let spans = ort.iter().filter_map(|line| line["spans"].as_array()).map(Vec::len).sum();
    ensure!(spans > 0, "{method}: no span in {SENTENCES} sentences");
    Ok(spans)
}
