//! The command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use hyperloader_runtime::{
    Alignment, BackendKind, BackendOptions, Device, DraftFrom, Input, Mode, TaggerOptions,
};

/// Tag sentences with a tagger that `hl-export` wrote
///
/// Sentences come as arguments or, without any, from stdin, one a line. Results go to stdout, all else to stderr. A
/// line that cannot be tagged is reported and skipped, and the exit code is 1 then.
#[derive(Debug, Parser)]
#[command(name = "hl-run", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Sentences; read from stdin, one a line, if there are none
    pub(crate) sentences: Vec<String>,

    /// The tagger: an ONNX file that `hl-export` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,

    /// Print what the file says about itself, and tag nothing
    #[arg(long, conflicts_with = "sentences")]
    pub(crate) info: bool,

    /// What sentences are given as
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    input_format: Input,

    /// What results are printed as
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output_format: OutputFormat,

    /// Runtime that runs the graph
    #[arg(long, value_enum, default_value_t)]
    backend: BackendKind,

    /// What it runs on: `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value_t)]
    device: Device,

    /// Threads for one operation [default: all cores, divided among the workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Most sentences that are run at once
    #[arg(long, default_value = "32", value_name = "N")]
    batch_size: NonZeroUsize,

    /// Batches that are run side by side
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// How target ids are found; a token classifier has none
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    decode: Mode,

    /// What drafts are made from
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    draft_from: DraftFrom,

    /// Which word a tag belongs to
    #[arg(long, value_enum, default_value_t, value_name = "RULE")]
    align: Align,

    /// ONNX Runtime's library [default: ORT_DYLIB_PATH, else looked for]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Keep what ONNX Runtime makes of the model on the CPU in `NAME.onnx.cache`, in DIR or beside the model: later starts
    /// are faster, and all workers and programs share its weights. Takes twice the model's size
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    cache: Option<Option<PathBuf>>,

    /// At the end, write to stderr what decoding has cost
    #[arg(long)]
    pub(crate) stats: bool,

    /// Write nothing to stderr but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Which word a tag belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Align {
    /// The first tag to the first word and so on, as the reference implementation scores
    #[default]
    Order,
    /// By the sentinel in front of the tag, so that a missing or surplus tag shifts no other
    Sentinel,
}

/// What results are printed as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Words, tags and spans for people
    #[default]
    Text,
    /// One JSON object a line, `{"text", "spans": [{"start", "end", "label", "text"}]}`; offsets count characters
    Jsonl,
}

impl Args {
    /// A worker's threads; all cores together unless told otherwise.
    fn threads(&self) -> Option<usize> {
        let cores = || std::thread::available_parallelism().ok().filter(|_| self.workers > 1);
        let share = || Some((cores()?.get() / usize::from(self.workers)).max(1));
        self.threads.map(usize::from).or_else(share)
    }

    /// The folder of `--cache`: the model's unless told otherwise.
    fn cache(&self) -> Option<PathBuf> {
        let beside = || self.model.parent().unwrap_or(Path::new("")).to_owned();
        Some(self.cache.clone()?.unwrap_or_else(beside))
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
            align: match self.align {
                Align::Order => Alignment::Order,
                Align::Sentinel => Alignment::Sentinel,
            },
            workers: self.workers.into(),
            mode: self.decode,
            draft_from: self.draft_from,
        }
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
