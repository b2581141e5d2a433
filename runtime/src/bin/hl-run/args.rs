//! The command line: as typed ([`Args`]) and as the library takes it ([`TagArgs::options`]).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use hyperloader_cli::{CommonArgs, Documents, OutputFormat, choices};
use hyperloader_runtime::{
    Alignment, BackendKind, BackendOptions, Device, DraftFrom, Guarantee, Input, Mode, TaggerOptions,
};

/// Tag sentences with a model that `hl-export` wrote
///
/// Sentences come from the arguments or, if there are none, from stdin, one per line. Results go to stdout in the order
/// of the sentences; notes, warnings and errors go to stderr. A sentence that cannot be tagged is reported and skipped,
/// and the exit code is then 1.
#[derive(Debug, Parser)]
#[command(
    name = "hl-run",
    version,
    max_term_width = 100,
    // `hl-run --model FILE SENTENCE` and `hl-run COMMAND` are separate forms: after an option, a word is a sentence even if
    // it is the name of a command.
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_long_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) tag: Option<TagArgs>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Tag a sentence:
    hl-run --model mtop.onnx \"set an alarm for 7 am\"
  Tag a file with one sentence per line, as JSON Lines:
    hl-run --model mtop.onnx --output-format jsonl < sentences.txt > spans.jsonl
  Show the task and the labels of a file:
    hl-run --model mtop.onnx --info

Exit codes:
  0  All sentences were tagged
  1  An error in the input, the command line or the file; other sentences were tagged
  2  An error in hl-run or in the backend";

/// What `hl-run` can do besides tagging.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Documents(Documents),
}

/// The options of plain `hl-run`, which tags.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// Sentences to tag [default: the lines of stdin]
    pub(crate) sentences: Vec<String>,

    /// The tagger: an ONNX file that `hl-export` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,

    /// Print the file's metadata and tag nothing
    #[arg(long, conflicts_with = "sentences")]
    pub(crate) info: bool,

    /// Form of the sentences
    #[arg(long, default_value = "text", value_name = "FORMAT", value_parser = choices(&INPUTS))]
    input_format: Input,

    // Not the shared `FormatArgs`: clap reads an optional set of options as absent if another set is flattened into it.
    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output_format: OutputFormat,

    /// Runtime that runs the model
    #[arg(long, default_value = "auto", value_name = "BACKEND", value_parser = choices(&BACKENDS))]
    backend: BackendKind,

    /// Device that runs the model: `auto`, `cpu`, `cuda` or `cuda:N`
    ///
    /// `auto` is the first GPU if the backend can use it, else the CPU.
    #[arg(long, default_value_t)]
    device: Device,

    /// Threads of one operation [default: all cores, divided among the workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Maximum number of sentences in a batch
    #[arg(long, default_value = "32", value_name = "N")]
    batch_size: NonZeroUsize,

    /// Number of batches that run at the same time
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// Decoding mode; token classifiers do not decode and ignore it
    #[arg(long, default_value = "verified", value_name = "MODE", value_parser = choices(&MODES))]
    decode: Mode,

    /// Source of the drafts that mode `verified` checks
    #[arg(long, default_value = "classifier", value_name = "SOURCE", value_parser = choices(&DRAFTS))]
    draft_from: DraftFrom,

    /// How tags are assigned to words
    #[arg(long, default_value = "order", value_name = "RULE", value_parser = choices(&ALIGNMENTS))]
    align: Alignment,

    /// Print scores: the probability of each tag, span and sentence, and the margins of tags and spans
    ///
    /// Text shows the score of each span, JSON Lines all scores. Scores change no tag. Token classifiers have them too;
    /// `--decode draft` has none.
    #[arg(long)]
    scores: bool,

    /// Withhold tags so that at most this share of the answered sentences has a wrong tag
    ///
    /// Sentences with lower scores than the share needs get no tags, and `"abstained":true` in JSON Lines. The share holds
    /// for sentences like those that `hl-train calibrate` counted.
    #[arg(long, value_name = "X", value_parser = inner_share)]
    max_error: Option<f64>,

    /// Probability that the share of `--max-error` holds
    #[arg(long, value_name = "X", default_value = "0.9", value_parser = inner_share, requires = "max_error")]
    confidence: f64,

    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    ///
    /// It is searched for next to hl-run, in `.native/onnxruntime/lib` of a parent folder, and where the system keeps its
    /// libraries.
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Keep the model as ONNX Runtime optimized it for the CPU [default: no cache]
    ///
    /// The cache is the folder `NAME.onnx.cache` in DIR or, without DIR, next to the model. Later starts are faster, and
    /// all workers and processes share its weights in memory. It takes twice the size of the model.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    cache: Option<Option<PathBuf>>,

    /// Print speed and decoding statistics to stderr at the end
    #[arg(long)]
    pub(crate) stats: bool,
}

const INPUTS: [(Input, &str, &str); 2] = [
    (Input::Text, "text", "Text, split into words by the rule of the task's corpus"),
    (Input::Words, "words", "Words separated by white space"),
];

const BACKENDS: [(BackendKind, &str, &str); 3] = [
    (BackendKind::Auto, "auto", "ONNX Runtime if its library can be loaded, else tract"),
    (BackendKind::Ort, "ort", "ONNX Runtime, a library that is loaded when hl-run starts"),
    (BackendKind::Tract, "tract", "tract, which is part of hl-run"),
];

const MODES: [(Mode, &str, &str); 4] = [
    (
        Mode::Verified,
        "verified",
        "The same tags as `greedy` in fewer passes: a draft of the whole target is checked in one pass and \
         corrected from its first wrong token",
    ),
    (Mode::Greedy, "greedy", "One token per pass, the most likely of the whole vocabulary, as in the paper"),
    (
        Mode::Constrained,
        "constrained",
        "One token per pass, the most likely of those that a well-formed target allows: each word gets a known tag",
    ),
    (
        Mode::Draft,
        "draft",
        "The draft without a check: only the encoder runs, and tags may differ from `greedy`",
    ),
];

const DRAFTS: [(DraftFrom, &str, &str); 3] = [
    (
        DraftFrom::Classifier,
        "classifier",
        "The file's tag classifier, if it has one; after a wrong draft, the decoder's output",
    ),
    (
        DraftFrom::Jacobi,
        "jacobi",
        "`O` for every word; after a wrong draft, the decoder's output (Jacobi decoding, Santilli et al. 2023)",
    ),
    (DraftFrom::Outside, "outside", "`O` for every word, also after a wrong draft"),
];

const ALIGNMENTS: [(Alignment, &str, &str); 2] = [
    (Alignment::Order, "order", "The first tag belongs to the first word and so on, as the paper evaluates"),
    (
        Alignment::Sentinel,
        "sentinel",
        "A tag belongs to the word of the sentinel before it: a missing tag does not shift the others",
    ),
];

impl TagArgs {
    /// Threads of a worker.
    fn threads(&self) -> Option<usize> {
        let cores = || std::thread::available_parallelism().ok().filter(|_| self.workers > 1);
        let share = || Some((cores()?.get() / usize::from(self.workers)).max(1));
        self.threads.map(usize::from).or_else(share)
    }

    /// The folder of `--cache`: without DIR, the model's.
    fn cache(&self) -> Option<PathBuf> {
        let models = || self.model.parent().unwrap_or(Path::new("")).to_owned();
        Some(self.cache.clone()?.unwrap_or_else(models))
    }

    pub(crate) fn options(&self) -> TaggerOptions {
        TaggerOptions {
            backend: BackendOptions {
                kind: self.backend,
                device: self.device,
                threads: self.threads(),
                ort_lib: self.ort_lib.clone(),
                cache: self.cache(),
            },
            batch_size: self.batch_size.get(),
            input: self.input_format,
            align: self.align,
            workers: self.workers.into(),
            mode: self.decode,
            draft_from: self.draft_from,
            scores: self.scores,
            guarantee: self.max_error.map(|max_error| Guarantee { max_error, confidence: self.confidence }),
        }
    }
}

fn inner_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Args {
        Args::try_parse_from([&["hl-run"], args].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_word_is_a_command_only_if_it_comes_first() {
        assert!(matches!(parse(&["man"]).command, Some(Command::Documents(Documents::Man { .. }))));
        let tag = parse(&["--model", "a.onnx", "man"]).tag.unwrap();
        assert_eq!(tag.sentences, ["man"]);
        let tag = parse(&["set an alarm", "man", "--model", "a.onnx"]).tag.unwrap();
        assert_eq!(tag.sentences, ["set an alarm", "man"]);
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let options = parse(&["--model", "a.onnx"]).tag.unwrap().options();
        assert_eq!(format!("{options:?}"), format!("{:?}", TaggerOptions::default()));
    }

    #[test]
    fn names_of_choices_are_those_of_the_library() {
        assert!(INPUTS.iter().all(|(value, name, _)| value.to_string() == *name));
        assert!(BACKENDS.iter().all(|(value, name, _)| value.to_string() == *name));
        assert!(MODES.iter().all(|(value, name, _)| value.to_string() == *name));
        assert!(DRAFTS.iter().all(|(value, name, _)| value.to_string() == *name));
        let counts = [INPUTS.len(), BACKENDS.len(), MODES.len(), DRAFTS.len()];
        let all = [Input::ALL.len(), BackendKind::ALL.len(), Mode::ALL.len(), DraftFrom::ALL.len()];
        assert_eq!(counts, all);
    }
}
