//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};
use hyperloader_core::run::Which;
use hyperloader_exporter::{Options, Precision, Tolerance, Verification};
use hyperloader_onnx::Opset;
use hyperloader_runtime::backend::{BackendKind, BackendOptions, Device};

/// Write a trained task as one ONNX file
///
/// Takes the newest run under `runs/` and its best checkpoint, makes the task's weights, folds LoRA into the matrices
/// it updates, and writes `TASK.onnx`. The file is run in every backend at hand against the trained model before it
/// takes its name; if they differ, no file is left. A summary goes to stdout, all else to stderr.
#[derive(Debug, Parser)]
#[command(name = "hl-export", version, max_term_width = 100)]
#[command(group = ArgGroup::new("what").args(["task", "all"]).required(true))]
pub(crate) struct Args {
    /// The task
    #[arg(long)]
    pub(crate) task: Option<String>,

    /// Every task of the run, each as `TASK.onnx`
    #[arg(long, conflicts_with = "output")]
    pub(crate) all: bool,

    /// The run's folder [default: the newest under `--runs`]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,

    /// Where runs are looked for
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "run")]
    pub(crate) runs: PathBuf,

    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t)]
    checkpoint: Chosen,

    /// The file to write [default: `TASK.onnx`]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// The backbone's folder, if it is not where the run left it
    #[arg(long, value_name = "DIR")]
    pub(crate) backbone: Option<PathBuf>,

    /// ONNX operator set
    #[arg(long, value_name = "N", default_value = "18", value_parser = opset)]
    opset: Opset,

    /// What the large matrices are stored as
    #[arg(long, value_enum, default_value_t)]
    precision: StoredAs,

    /// Tolerated difference of two logits in the verification
    #[arg(long, value_name = "X", default_value = "1e-4", value_parser = tolerance)]
    atol: f64,

    /// Tolerated difference of two logits, added to `--atol`, as a share of the largest logit of the row
    #[arg(long, value_name = "X", default_value = "1e-5", value_parser = share)]
    rtol: f64,

    /// Write the file without running it
    #[arg(long, conflicts_with_all = ["atol", "rtol"])]
    no_verify: bool,

    /// ONNX Runtime's library [default: ORT_DYLIB_PATH, else looked for]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// What the summary is printed as
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output_format: OutputFormat,

    /// Write nothing to stderr but warnings and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Chosen {
    /// Lowest validation loss over all tasks; the last one if none was evaluated
    #[default]
    Best,
    /// Lowest validation loss of the exported task
    TaskBest,
    /// Most updates
    Last,
}

/// Precision of the large matrices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum StoredAs {
    /// 32-bit floats: the trained model
    #[default]
    F32,
    /// 8-bit integers: a quarter of the size, faster in ONNX Runtime, and close to the trained model but not equal to it
    Int8,
}

/// Format of the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A table for people
    #[default]
    Text,
    /// One JSON object a line and file
    Json,
}

impl Args {
    pub(crate) fn which<'a>(&self, task: &'a str) -> Which<'a> {
        match self.checkpoint {
            Chosen::Best => Which::Best,
            Chosen::TaskBest => Which::BestOf(task),
            Chosen::Last => Which::Last,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let backends = BackendOptions {
            kind: BackendKind::Auto,
            device: Device::Cpu,
            ort_lib: self.ort_lib.clone(),
            ..BackendOptions::default()
        };
        let tolerance = Tolerance { atol: self.atol, rtol: self.rtol };
        let verification = Verification { tolerance, backends };
        Options {
            opset: self.opset,
            precision: match self.precision {
                StoredAs::F32 => Precision::F32,
                StoredAs::Int8 => Precision::Int8,
            },
            verification: (!self.no_verify).then_some(verification),
        }
    }
}

fn opset(text: &str) -> Result<Opset, String> {
    [Opset::V17, Opset::V18]
        .into_iter()
        .find(|opset| opset.version().to_string() == text)
        .ok_or_else(|| "expected 17 or 18".to_owned())
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
