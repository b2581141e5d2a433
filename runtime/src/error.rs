//! Errors of opening a tagger and of tagging.

use std::path::PathBuf;

use hyperloader_core::calibration::selection::Unit;
use hyperloader_core::format::tagger::MetadataError;
use hyperloader_core::text::sentt::SentTError;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::target::TargetError;
use hyperloader_onnx::ReadError;

use crate::backend::BackendError;
use crate::options::{Mode, Split, Words};
use crate::split::SplitError;

/// A file cannot be used as a tagger.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The file is not an ONNX model, or it is damaged.
    #[error(
        "cannot open tagger `{}`\n\
         hint: `hl-export --task TASK` writes one; if it did, copy or export the file again",
        path.display()
    )]
    NotAModel {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault.
        source: ReadError,
    },
    /// The model lacks metadata of a tagger, or has metadata of another version.
    #[error("cannot use `{}` as a tagger", path.display())]
    Metadata {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault.
        source: MetadataError,
    },
    /// A value in the metadata is out of its range.
    #[error("`{}`: metadata `{field}` is {value}, expected {expected}", path.display())]
    Field {
        /// Path of the file.
        path: PathBuf,
        field: &'static str,
        value: String,
        /// The values that are allowed.
        expected: String,
    },
    /// The drafter has another number of tags than the tagger.
    #[error("`{}`: {part} has width {found}, expected {expected} for {labels} labels", path.display())]
    Drafter {
        /// Path of the file.
        path: PathBuf,
        /// The part of the drafter.
        part: &'static str,
        found: usize,
        /// The width for this number of labels.
        expected: usize,
        /// Number of labels of the tagger.
        labels: usize,
    },
    /// The graph has other inputs or outputs than a tagger.
    #[error("`{}`: the graph's {side} are {found}, expected {expected}", path.display())]
    Interface {
        /// Path of the file.
        path: PathBuf,
        /// `inputs` or `outputs`.
        side: &'static str,
        /// Names, types and ranks found.
        found: String,
        /// Names, types and ranks of a tagger.
        expected: String,
    },
}

/// A tagger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is not a tagger.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The backend cannot be loaded.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The file's tokenizer cannot be used.
    #[error("cannot use the tokenizer of `{}`", path.display())]
    Tokenizer {
        /// Path of the file.
        path: PathBuf,
        /// The tokenizer's reason.
        source: CodingError,
    },
    /// The tokenizer and the metadata disagree.
    #[error("`{}`: metadata `{field}` is {metadata}, the tokenizer has {tokenizer}", path.display())]
    Token {
        /// Path of the file.
        path: PathBuf,
        /// The field of the metadata.
        field: &'static str,
        /// The id in the metadata.
        metadata: i64,
        /// The id in the tokenizer.
        tokenizer: u32,
    },
    /// The tagger cannot give the guarantee that is asked for.
    #[error("`{}` cannot limit the error rate", path.display())]
    Guarantee {
        /// Path of the file.
        path: PathBuf,
        /// The reason.
        source: GuaranteeFault,
    },
    /// The file's graph cannot be run.
    #[error("cannot run the graph of `{}`", path.display())]
    Graph {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the graph.
        source: GraphError,
    },
}

impl OpenError {
    /// Whether the fault is the program's or the runtime's: the options and the file are in order.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Backend(error) => error.is_internal(),
            Self::Graph { source: GraphError(GraphFault::Backend { source, .. }), .. } => {
                source.is_internal()
            }
            Self::File(_)
            | Self::Tokenizer { .. }
            | Self::Token { .. }
            | Self::Guarantee { .. }
            | Self::Graph { .. } => false,
        }
    }
}

/// Why a tagger cannot give a guarantee.
#[derive(Debug, thiserror::Error)]
pub enum GuaranteeFault {
    /// The file has no calibration.
    #[error(
        "its scores are not calibrated\n\
         hint: `hl-train calibrate RUN`, then export the task again"
    )]
    NotCalibrated,
    /// The scores were calibrated with other weights.
    #[error(
        "its scores were calibrated in float32, and the file's precision is another\n\
         hint: export the task with `--precision f32`"
    )]
    OtherPrecision,
    /// The calibration counted sentences only.
    #[error(
        "its calibration has no counts of spans\n\
         hint: `hl-train calibrate RUN`, then export the task again"
    )]
    NoSpans,
    /// The scores of the mode were not calibrated.
    #[error("the scores of mode `{mode}` are not calibrated\nhint: decode in mode `verified`")]
    Mode {
        /// The mode.
        mode: Mode,
    },
    /// The tags were assigned to words by the other rule.
    #[error(
        "its tags were assigned to words by another rule in calibration\n\
         hint: use the other value of `--align`"
    )]
    Alignment,
    /// Texts are split into other words than those of the calibration.
    #[error(
        "words by the rule `{words}` are not those of the sentences that were calibrated\n\
         hint: leave out `--words`"
    )]
    Words {
        /// How texts are split into words.
        words: Words,
    },
    /// Texts that the tagger takes whole are cut.
    #[error(
        "`--split {split}` tags parts of texts, but the calibration counted whole ones\n\
         hint: leave out `--split`, and give one sentence per record"
    )]
    Split {
        /// Which texts are tagged in parts.
        split: Split,
    },
    /// The counts prove no threshold.
    #[error(
        "{count} validation {unit} do not prove an error rate of at most {percent} % with {confidence} % confidence, \
         whatever the threshold\n\
         hint: allow a higher rate, or calibrate with more validation sentences"
    )]
    NoThreshold {
        /// The highest rate, in percent.
        percent: f64,
        /// The confidence, in percent.
        confidence: f64,
        /// What is counted.
        unit: Unit,
        /// Number of validation sentences or spans that thresholds were tested on.
        count: u64,
    },
}

/// A tagger's graph cannot be run as its options ask. The message tells why.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GraphError(#[from] pub(crate) GraphFault);

/// The reasons of a [`GraphError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphFault {
    /// The graph cannot be split into encoder and decoder.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The backend does not accept a part.
    #[error("cannot open the {part}")]
    Backend {
        /// `encoder`, `decoder` or `classifier`.
        part: &'static str,
        source: BackendError,
    },
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The tokenizer cannot encode the tags.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// The model is not an encoder-decoder.
    #[error("a token classifier has one graph, not an encoder and a decoder")]
    OneGraph,
    /// The labels cannot be written or told apart.
    #[error(transparent)]
    Labels(#[from] TargetError),
    /// The graph cannot write an id that a well-formed target needs.
    #[error("a well-formed target needs id {id}, the graph's vocabulary has {vocab_size} ids")]
    Vocabulary { id: u32, vocab_size: usize },
    /// The mode needs a drafter that the file lacks.
    #[error(
        "the tagger has no drafter\n\
         hint: `hl-train drafter` fits one, `hl-export` then adds it; or decode in another mode"
    )]
    NoDrafter,
    /// Nothing verifies the tags, so no score is known.
    #[error(
        "mode `draft` has no scores\n\
         hint: decode in mode `verified`, which gives scores and the tags of `greedy`"
    )]
    NoScores,
}

/// One sentence cannot be tagged; others can.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum SentenceError {
    /// The sentence has no word.
    #[error("the sentence has no word")]
    NoWord,
    /// A word of a sentence that was given as words is empty or has white space in it.
    #[error("word {} is `{word}`, expected one character or more, none of them white space", .index + 1)]
    Word {
        /// The word's index, from 0.
        index: usize,
        word: String,
    },
    /// The vocabulary has too few sentinels for the words.
    #[error(
        "the sentence has {words} words, the tagger takes at most {limit}\n\
         hint: have it tagged in parts, which is the default: leave out `--no-split`"
    )]
    TooManyWords {
        /// Words of the sentence.
        words: usize,
        /// Most words that the tagger takes.
        limit: usize,
    },
    /// The source is longer than those that the model was made for.
    #[error(
        "the sentence takes {tokens} tokens, the tagger takes at most {limit}\n\
         hint: have it tagged in parts, which is the default: leave out `--no-split`"
    )]
    TooLong {
        /// Tokens of the source, with all special tokens.
        tokens: usize,
        /// Most tokens that the tagger takes.
        limit: usize,
    },
    /// The model computed a logit that is infinite or not a number.
    #[error(
        "the model's output is not finite\n\
         hint: the weights are damaged, or too large for their precision: export the file again"
    )]
    NotFinite,
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] CodingError),
}

/// An error of [`Tagger::tag_iter`](crate::Tagger::tag_iter).
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// This sentence cannot be tagged. The iterator continues with the next sentence.
    #[error(transparent)]
    Sentence(#[from] SentenceError),
    /// The backend failed. The iterator ends.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
