//! The command line: as typed ([`Args`]) and as the library takes it ([`TagArgs::options`]).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueHint};
use hyperloader_cli::{CommonArgs, Documents, ErrorLimits, choices};
use hyperloader_core::corpus::{Columns, Fields, LabelPreset, OffsetUnit, ReadOptions};
use hyperloader_runtime::{
    Alignment, BackendKind, BackendOptions, Device, DraftFrom, Guarantee, Mode, Split, TaggerOptions, Words,
};

use crate::doctor::DoctorArgs;
use crate::values::{ALIGNMENTS, Format, InputFormat, LABELS, OFFSETS};
use crate::verify::VerifyArgs;

/// Tag text with a model that `hl-export` wrote
///
/// Text comes from the arguments, from files (`--input`) or, if neither is given, from stdin, one text per line. Results
/// go to stdout or to `--output`, one for each record of the input and in its order; notes, warnings and errors go to
/// stderr. A record that cannot be tagged is reported, its place in the output holds the error, and the exit code is
/// then 1.
///
/// With several models, each record is tagged by all of them.
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
pub(crate) struct Typed {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) tag: Option<TagArgs>,
    // Not in `TagArgs`: clap cannot tell whether an optional part is there if it has a part of its own.
    #[command(flatten)]
    pub(crate) limits: ErrorLimits,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// The command line, with the words after `--model` where they belong.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) command: Option<Command>,
    pub(crate) tag: Option<TagArgs>,
    pub(crate) common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Tag a sentence:
    hl-run --model mtop.onnx \"set an alarm for 7 am\"
  Tag stdin, one sentence per line, as JSON Lines:
    hl-run --model mtop.onnx --output-format jsonl < sentences.txt > spans.jsonl
  Tag files; the formats follow from their names:
    hl-run --model mtop.onnx --input a.jsonl b.csv.gz --output spans.jsonl
  Tag with several models:
    hl-run --model mtop.onnx snips.onnx \"play jazz at 7 am\"
  Show the task and the labels of a file:
    hl-run --model mtop.onnx --info

Exit codes:
  0    All records were tagged
  1    An error in the input, the command line or the file; other records were tagged
  2    An error in hl-run or in the backend
  130  Ctrl-C; what was complete is written";

/// What `hl-run` can do besides tagging.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report what is installed on this machine, and what is missing
    Doctor(DoctorArgs),
    /// Check that files are as they were exported
    Verify(VerifyArgs),
    #[command(flatten)]
    Documents(Documents),
}

/// The options of plain `hl-run`, which tags.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// Sentences to tag [default: the lines of stdin]
    pub(crate) sentences: Vec<String>,

    /// The taggers: ONNX files that `hl-export` wrote, one for each task
    ///
    /// After the first file, words that end in `.onnx` are further files; from the first other word on, and after `--`, words are
    /// sentences.
    #[arg(id = "model", long = "model", value_name = "FILE", required = true, num_args = 1.., value_parser = word(), value_hint = ValueHint::FilePath)]
    pub(crate) models: Vec<PathBuf>,

    /// Tasks to tag with, of files that have several [default: all of each file]
    #[arg(long = "task", value_name = "NAME", num_args = 1)]
    pub(crate) tasks: Vec<String>,

    /// Print the file's metadata and tag nothing
    #[arg(long, conflicts_with_all = ["sentences", "input", "output"])]
    pub(crate) info: bool,

    // Options of input and output are not a set of their own: clap reads an optional set of options as absent if another
    // set is flattened into it.
    /// Files to tag; `-` is stdin [default: stdin]
    ///
    /// Files ending in `.gz` and `.zst` are decompressed.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "sentences")]
    pub(crate) input: Vec<PathBuf>,

    /// Format of the input [default: that of the file's extension; `text` for arguments and stdin]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) input_format: Option<InputFormat>,

    /// How texts are split into words
    #[arg(long, default_value = "corpus", value_name = "RULE", value_parser = choices(Words::CHOICES))]
    words: Words,

    /// Which texts are tagged in parts
    #[arg(long, default_value = "long", value_name = "TEXTS", value_parser = choices(Split::CHOICES))]
    split: Split,

    /// The same as `--split never`
    #[arg(long, conflicts_with = "split")]
    no_split: bool,

    /// Labeled file to evaluate the model on, instead of tagging
    ///
    /// It is read as training reads corpora. The report is text, JSON or, with `--output-format html`, a page.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sentences", "input", "info", "resume", "max_error", "max_span_error"])]
    pub(crate) gold: Option<PathBuf>,

    /// Another tagger to evaluate and compare with on the same sentences
    #[arg(long, value_name = "FILE", requires = "gold")]
    pub(crate) compare: Option<PathBuf>,

    /// How the labels of the labeled file are rewritten, as `labels` in a training's configuration
    #[arg(long, default_value = "keep", value_name = "RULE", value_parser = choices(&LABELS), requires = "gold")]
    pub(crate) gold_labels: LabelPreset,

    /// Maximum number of sentences in each list of an evaluation
    #[arg(long, default_value = "10", value_name = "N", requires = "gold")]
    pub(crate) shown: usize,

    /// JSON field or table column that holds the text [default: `text`, or `data`]
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,

    /// JSON field or table column that holds the words [default: `tokens`, or `words`]
    #[arg(long, value_name = "NAME")]
    tokens_field: Option<String>,

    /// Columns of CoNLL files and of tables of words, such as `index,word,_,tag` [default: word first]
    ///
    /// One is `word`; `index` numbers the words, `sentence` the sentences, `tag` and `_` are not read, and `*` stands for
    /// any number of columns.
    #[arg(long, value_name = "ROLES", value_parser = Columns::parse)]
    columns: Option<Columns>,

    /// Character between the cells of CSV, or `tab` [default: `,`; `;` or tab if the header has no comma]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,

    /// File to write the results to; for `brat` a folder [default: stdout]
    ///
    /// The file appears when it is complete. One that is there is replaced.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Format of the results [default: that of the output's extension; `text` for stdout]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) output_format: Option<Format>,

    /// Unit of the offsets of spans
    #[arg(long, default_value = "chars", value_name = "UNIT", value_parser = choices(&OFFSETS))]
    pub(crate) offsets: OffsetUnit,

    /// Keep an unfinished output as `FILE.partial`, and continue it if it is there
    ///
    /// For the formats `jsonl`, `conll`, `tsv` and `text`. The finished file is the same as without an interruption.
    #[arg(long, requires = "output")]
    pub(crate) resume: bool,

    /// Runtime that runs the model
    #[arg(long, default_value = "auto", value_name = "BACKEND", value_parser = choices(BackendKind::CHOICES))]
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
    #[arg(long, default_value = "verified", value_name = "MODE", value_parser = choices(Mode::CHOICES))]
    decode: Mode,

    /// Source of the drafts that modes `verified` and `constrained` check
    #[arg(long, default_value = "classifier", value_name = "SOURCE", value_parser = choices(DraftFrom::CHOICES))]
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

    /// The guarantee that [`Typed::limits`] ask for.
    #[arg(skip)]
    pub(crate) guarantee: Option<Guarantee>,

    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    ///
    /// It is searched for next to hl-run, in `.native/onnxruntime/lib` of a folder around hl-run, and where the system keeps
    /// its libraries; never in the current folder.
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Keep the model as ONNX Runtime optimized it for the CPU [default: no cache]
    ///
    /// The cache is the folder `NAME.onnx.cache` in DIR or, without DIR, next to the model. Later starts are faster, and
    /// all workers and processes share its weights in memory. It takes twice the size of the model. The `=` is needed: a single
    /// word after `--cache` is an error, because it could be DIR or a sentence.
    // An empty path is that of the model, so that the option has a place among the words even without DIR.
    #[arg(id = "cache", long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = word())]
    cache: Option<PathBuf>,

    /// Print speed and decoding statistics to stderr at the end
    #[arg(long)]
    pub(crate) stats: bool,
}

/// Any word, also an empty one.
fn word() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A character that separates cells.
fn delimiter(typed: &str) -> std::result::Result<u8, String> {
    match typed.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("expected one ASCII character other than a quote, or `tab`".to_owned()),
    }
}

impl TagArgs {
    /// Threads of a worker.
    fn threads(&self) -> Option<usize> {
        let cores = || std::thread::available_parallelism().ok().filter(|_| self.workers > 1);
        let share = || Some((cores()?.get() / usize::from(self.workers)).max(1));
        self.threads.map(usize::from).or_else(share)
    }

    /// The folder of `--cache`: without DIR, that of the model.
    fn cache(&self, model: &Path) -> Option<PathBuf> {
        let named = Some(self.cache.as_deref()?).filter(|folder| !folder.as_os_str().is_empty());
        Some(named.or_else(|| model.parent()).unwrap_or(Path::new("")).to_owned())
    }

    /// The model, where only one is used.
    ///
    /// # Errors
    /// If there are several.
    pub(crate) fn only_model(&self) -> Result<&Path> {
        match &self.models[..] {
            [model] => Ok(model),
            models => bail!(
                "`--gold` evaluates one model, and `--model` names {}\n\
                 hint: `--compare FILE` evaluates another one on the same sentences",
                models.len()
            ),
        }
    }

    /// Whether an option of evaluation is given.
    pub(crate) fn is_evaluation(&self) -> bool {
        self.gold.is_some() || self.compare.is_some()
    }

    /// Whether `--columns` is there.
    pub(crate) fn names_columns(&self) -> bool {
        self.columns.is_some()
    }

    /// How input is read.
    pub(crate) fn read_options(&self) -> ReadOptions {
        ReadOptions {
            fields: Fields {
                text: self.text_field.clone(),
                tokens: self.tokens_field.clone(),
                ..Fields::default()
            },
            columns: self.columns.clone(),
            separator: self.delimiter,
            to_tag: true,
            ..ReadOptions::default()
        }
    }

    /// What results depend on besides model and input, in words.
    pub(crate) fn settings(&self) -> String {
        let Self { input_format, words, split, no_split, decode, draft_from, align, scores, .. } = self;
        let (read, offsets) = (self.read_options(), self.offsets.name());
        let fields = (&read.fields.text, &read.fields.tokens, &read.columns, read.separator);
        let split = if *no_split { Split::Never } else { *split };
        let guarantee = self.guarantee;
        format!(
            "{input_format:?} {words} {split} {fields:?} {offsets} {decode} {draft_from} {align:?} {scores} {guarantee:?}"
        )
    }

    /// How the tagger of `model` runs.
    pub(crate) fn options(&self, model: &Path) -> TaggerOptions {
        TaggerOptions {
            backend: BackendOptions {
                kind: self.backend,
                device: self.device,
                threads: self.threads(),
                ort_lib: self.ort_lib.clone(),
                cache: self.cache(model),
            },
            batch_size: self.batch_size.get(),
            words: if self.input_format == Some(InputFormat::Words) {
                Words::PreTokenized
            } else {
                self.words
            },
            split: if self.no_split { Split::Never } else { self.split },
            align: self.align,
            workers: self.workers.into(),
            mode: self.decode,
            draft_from: self.draft_from,
            scores: self.scores,
            guarantee: self.guarantee,
        }
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
    fn every_example_of_the_help_is_a_command_line() {
        for example in hyperloader_cli::examples::examples::<Args>() {
            let parsed = Args::try_parse_from(&example);
            assert!(parsed.is_ok(), "{}: {}", example.join(" "), parsed.unwrap_err());
        }
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
        let options = parse(&["--model", "a.onnx"]).tag.unwrap().options(Path::new("a.onnx"));
        assert_eq!(format!("{options:?}"), format!("{:?}", TaggerOptions::default()));
    }

    #[test]
    fn words_after_input_are_files() {
        let tag = parse(&["--model", "a.onnx", "--input", "a.txt", "-"]).tag.unwrap();
        assert_eq!(tag.input, [Path::new("a.txt"), Path::new("-")]);
        assert!(tag.sentences.is_empty());
    }

    #[test]
    fn a_delimiter_is_one_character_of_ascii() {
        assert_eq!(
            ["|", "tab", "\\t"].map(|typed| delimiter(typed).ok()),
            [Some(b'|'), Some(b'\t'), Some(b'\t')]
        );
        for bad in ["", "ab", "\u{a7}", "\"", "\n"] {
            assert!(delimiter(bad).is_err(), "{bad}");
        }
    }
}
