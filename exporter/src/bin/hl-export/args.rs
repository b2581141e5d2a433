//! The command line: as typed ([`Args`]) and as the library takes it ([`ExportArgs::options`]).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;

use clap::builder::ArgPredicate;
use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use hyperloader_cli::{CommonArgs, Documents, OutputFormat, choices};
use hyperloader_core::files::Existing;
use hyperloader_core::run::Which;
use hyperloader_core::text::words::WordRule;
use hyperloader_exporter::weights::Loras;
use hyperloader_exporter::{CostCheck, Options, Pattern, Precision, Storage, Tolerance, Verification};
use hyperloader_onnx::Opset;
use hyperloader_runtime::{BackendKind, BackendOptions, Device};

use crate::inspect::InspectArgs;

/// Write a trained task as one ONNX file
///
/// Reads the best checkpoint of a run, by default of the newest in `runs/`, computes the task's weights, folds LoRA into the
/// matrices that it updates, and writes `TASK.onnx`. The file is verified before it gets its name: every available backend runs
/// it, and its output is compared with the trained model's. If they differ, no file is left. A summary goes to stdout;
/// notes, warnings and errors go to stderr.
#[derive(Debug, Parser)]
#[command(
    name = "hl-export",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_long_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) export: Option<ExportArgs>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Export task mtop of the newest run to mtop.onnx:
    hl-export --task mtop
  Export every task of a run as int8:
    hl-export --all --run runs/hyperloader-1 --precision int8
  Export every task, with the weights that all have in one file:
    hl-export --bundle taggers
  Write a page that tags text in the browser:
    hl-export --task mtop --web site
  Export a T5 that PEFT trained:
    hl-export --from lora --backbone models/t5-base --task ner --labels labels.txt
  Print the summary of every file as JSON Lines:
    hl-export --all --output-format jsonl

Exit codes:
  0  Every file was written
  1  An error in the run, the command line or the machine; other tasks were exported
  2  An error in hl-export or in a backend";

/// What `hl-export` can do besides exporting.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print inputs, outputs, operators, weights and metadata of an ONNX file
    Inspect(InspectArgs),
    #[command(flatten)]
    Documents(Documents),
}

/// The options of plain `hl-export`, which exports.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("tasks").args(["task", "all", "bundle", "multi"]).required(true))]
pub(crate) struct ExportArgs {
    /// Export this task
    #[arg(long)]
    pub(crate) task: Option<String>,

    /// Export every task of the run, each to `TASK.onnx` in the current folder
    #[arg(long, conflicts_with = "output")]
    pub(crate) all: bool,

    /// Export a checkpoint of another program: a T5 that was fine-tuned, alone or with PEFT's LoRA, AdapterHub's adapters or
    /// the authors' hypernetworks [default: none]
    ///
    /// The model must write targets as HyperLoader does. `pytorch_model.bin` is read without running anything in it.
    #[arg(long, value_name = "DIR", requires_all = ["task", "labels"], conflicts_with_all = ["all", "bundle", "multi", "run", "runs", "checkpoint"])]
    pub(crate) from: Option<PathBuf>,

    /// With `--from`: file with the task's labels, one in each line [default: none]
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) labels: Option<PathBuf>,

    /// With `--from`: rule by which free text is split into words
    #[arg(long, value_name = "RULE", default_value = "punctuation", value_parser = choices(&WORDS), requires = "from")]
    pub(crate) words: WordRule,

    /// With `--from`: lower-case the words
    #[arg(long, requires = "from")]
    pub(crate) lowercase: bool,

    /// With `--from`: what each source began with in training
    #[arg(long, value_name = "TEXT", default_value = "", requires = "from")]
    pub(crate) source_prefix: String,

    /// With `--from`: longest source in tokens
    #[arg(long, value_name = "N", default_value = "128", requires = "from")]
    pub(crate) max_source_len: NonZeroUsize,

    /// With `--from`: longest target in tokens
    #[arg(long, value_name = "N", default_value = "128", requires = "from")]
    pub(crate) max_target_len: NonZeroUsize,

    /// Folder of the run [default: the run in the folder of `--runs` that was trained last]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,

    /// Folder in which runs are searched for [default: `runs` of `hyperloader.toml` in the current folder, else `runs`]
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    pub(crate) runs: Option<PathBuf>,

    /// Checkpoint of the run
    #[arg(long, value_enum, default_value_t)]
    checkpoint: Chosen,

    /// File to write [default: `TASK.onnx` in the current folder]
    ///
    /// Folders, pipes and devices are refused.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace files that are there already
    ///
    /// A symbolic link stays, and the file that it leads to is replaced.
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Write every task to `TASK.onnx` in DIR, and the weights that all tasks have to one file beside them
    ///
    /// Each `.onnx` file can be used alone, with the file of weights in the same folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "task", "all"])]
    pub(crate) bundle: Option<PathBuf>,

    /// With `--bundle`: keep LoRA beside the matrices that it updates, which all tasks then share
    ///
    /// The files are smaller, and tagging takes a little longer. Only in float32. It has no effect on methods without LoRA, nor
    /// on `unipelt-bert`, whose LoRA is never folded.
    #[arg(long, requires = "bundle")]
    pub(crate) unfolded: bool,

    /// Write all tasks to FILE as one graph, whose input `task_id` selects the adapters and LoRA of each sentence
    ///
    /// The tasks are those of a run on a T5, in float32.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "task", "all", "bundle"])]
    pub(crate) multi: Option<PathBuf>,

    /// Write the task to DIR as a site, whose page tags text in the browser
    ///
    /// The folder has the page, the module in JavaScript, the graphs and their weights, in int8 unless `--precision` says
    /// otherwise. Any server of static files can serve it.
    #[arg(long, value_name = "DIR", requires = "task", conflicts_with_all = ["output", "external_data", "test_data"])]
    pub(crate) web: Option<PathBuf>,

    /// With `--web`: folder of the packages of npm that `cargo xtask web` fetches [default: `.native/web/packages` in a folder
    /// around hl-export or the current folder]
    #[arg(long, value_name = "DIR", requires = "web")]
    pub(crate) web_runtime: Option<PathBuf>,

    /// Write large weights to a file of their own, also if the model has less than 2 GiB
    #[arg(long, conflicts_with = "bundle")]
    external_data: bool,

    /// Folder of the backbone [default: where the run found it]
    #[arg(long, value_name = "DIR")]
    pub(crate) backbone: Option<PathBuf>,

    /// ONNX operator set: 17 or 18
    #[arg(long, value_name = "N", default_value = "18", value_parser = opset)]
    opset: Opset,

    /// Write the inputs of the verification and the file's outputs to DIR, as ONNX's model tests have them [default: none]
    ///
    /// Each run of the graph is a folder `test_data_set_N` with `input_N.pb` and `output_N.pb`.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["all", "bundle", "multi", "no_verify"])]
    pub(crate) test_data: Option<PathBuf>,

    /// Number format of the large matrices, or `auto`: the smallest file that `--max-f1-drop` accepts
    #[arg(long, default_value = "f32", default_value_if("web", ArgPredicate::IsPresent, "int8"), value_name = "PRECISION", value_parser = choices(&PRECISIONS))]
    pub(crate) precision: PrecisionChoice,

    /// Matrices that keep 32-bit floats, by name, such as `decoder.block.0.*` [default: none]
    ///
    /// `*` stands for any characters. The names are those of the initializers in the file, which Netron shows.
    #[arg(long, value_name = "PATTERN", num_args = 1, value_parser = Pattern::new)]
    pub(crate) keep_f32: Vec<Pattern>,

    /// Refuse a precision that lowers F1 on validation sentences by more [default: 0.005]
    ///
    /// The float32 file and the other one tag at most 500 of the run's validation sentences. If it is named, the cost must be
    /// measured.
    #[arg(long, value_name = "X", value_parser = share)]
    pub(crate) max_f1_drop: Option<f64>,

    /// Labeled file that the cost is measured on [default: the validation sentences that the run's configuration names]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "bundle", "multi"])]
    pub(crate) valid: Option<PathBuf>,

    /// Do not measure what the precision costs
    #[arg(long, conflicts_with_all = ["max_f1_drop", "valid"])]
    pub(crate) no_cost: bool,

    /// Difference of two logits that verification accepts
    #[arg(long, value_name = "X", default_value = "1e-4", value_parser = tolerance)]
    atol: f64,

    /// Difference that verification accepts in addition to `--atol`, as a share of the largest logit of the row
    #[arg(long, value_name = "X", default_value = "1e-5", value_parser = share)]
    rtol: f64,

    /// Write the file without verification
    #[arg(long, conflicts_with_all = ["atol", "rtol"])]
    no_verify: bool,

    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    ///
    /// It is searched for next to hl-export, in `.native/onnxruntime/lib` of a folder around hl-export, and where the system
    /// keeps its libraries; never in the current folder.
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    // Not the shared `FormatArgs`: clap reads an optional set of options as absent if another set is flattened into it.
    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output_format: OutputFormat,
}

/// The default of `--max-f1-drop`.
pub(crate) const MAX_F1_DROP: f64 = 0.005;

/// A precision, or the choice of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrecisionChoice {
    Fixed(Precision),
    Auto,
}

impl PrecisionChoice {
    /// The precisions to try until one is accepted, and the last one.
    pub(crate) fn candidates(self) -> (&'static [Precision], Precision) {
        match self {
            Self::Fixed(precision) => (&[], precision),
            Self::Auto => (&[Precision::Int4, Precision::Int8, Precision::F16], Precision::F32),
        }
    }
}

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Chosen {
    /// The lowest mean validation loss over all tasks; the last one if the run was not evaluated
    #[default]
    Best,
    /// The lowest validation loss of the exported task
    TaskBest,
    /// The last one
    Last,
}

const WORDS: [(WordRule, &str, &str); 4] = [
    (WordRule::Whitespace, "whitespace", "at white space only"),
    (WordRule::Punctuation, "punctuation", "at white space and punctuation"),
    (WordRule::Clitics, "clitics", "as `punctuation`, and before `'s`, `am` and `pm`"),
    (WordRule::Unicode, "unicode", "at the word boundaries of Unicode"),
];

const PRECISIONS: [(PrecisionChoice, &str, &str); 6] = [
    (PrecisionChoice::Fixed(Precision::F32), "f32", "32-bit floats, as trained"),
    (
        PrecisionChoice::Fixed(Precision::F16),
        "f16",
        "16-bit floats, computed with as 32-bit floats: half of the size",
    ),
    (
        PrecisionChoice::Fixed(Precision::Bf16),
        "bf16",
        "16-bit floats of less precision and more range; tract cannot run them",
    ),
    (
        PrecisionChoice::Fixed(Precision::Int8),
        "int8",
        "8-bit integers: a quarter of the size, faster in ONNX Runtime; tags may differ from the trained model's",
    ),
    (
        PrecisionChoice::Fixed(Precision::Int4),
        "int4",
        "4-bit integers in blocks of 32, computed with as 32-bit floats: a seventh of the size",
    ),
    (PrecisionChoice::Auto, "auto", "the smallest of int4, int8, f16 and f32 that `--max-f1-drop` accepts"),
];

impl ExportArgs {
    pub(crate) fn which<'a>(&self, task: &'a str) -> Which<'a> {
        match self.checkpoint {
            Chosen::Best => Which::Best,
            Chosen::TaskBest => Which::BestOf(task),
            Chosen::Last => Which::Last,
        }
    }

    /// The backends that run a file.
    pub(crate) fn backends(&self) -> BackendOptions {
        BackendOptions {
            kind: BackendKind::Auto,
            device: Device::Cpu,
            ort_lib: self.ort_lib.clone(),
            ..BackendOptions::default()
        }
    }

    /// What becomes of files that are there already.
    pub(crate) fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Keep }
    }

    pub(crate) fn options(&self, precision: Precision, cost: Option<Rc<CostCheck>>) -> Options {
        let tolerance = Tolerance { atol: self.atol, rtol: self.rtol };
        let verification = Verification { tolerance, backends: self.backends() };
        Options {
            opset: self.opset,
            storage: Storage { precision, keep_f32: self.keep_f32.clone() },
            loras: if self.unfolded { Loras::Separate } else { Loras::Folded },
            external_data: self.external_data,
            existing: self.existing(),
            verification: (!self.no_verify).then_some(verification),
            cost,
            explain: self.precision != PrecisionChoice::Auto,
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

    #[test]
    fn every_example_of_the_help_is_a_command_line() {
        for example in hyperloader_cli::examples::examples::<Args>() {
            let parsed = Args::try_parse_from(&example);
            assert!(parsed.is_ok(), "{}: {}", example.join(" "), parsed.unwrap_err());
        }
    }

    #[test]
    fn a_command_needs_no_task() {
        let args = Args::try_parse_from(["hl-export", "completions", "bash"]).unwrap();
        assert!(args.command.is_some() && args.export.is_none());
        assert!(Args::try_parse_from(["hl-export", "--atol", "1e-3"]).is_err());
    }
}
