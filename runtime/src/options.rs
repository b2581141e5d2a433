//! How a tagger is run.

use hyperloader_core::calibration::selection::Guarantee;
use hyperloader_core::text::target::Alignment;

use crate::backend::BackendOptions;
use crate::names::names;

/// How texts are split into words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Words {
    /// By the rule that is stored in the file: as the task's corpus splits them.
    #[default]
    Corpus,
    /// At the word boundaries of Unicode (UAX 29).
    Unicode,
    /// At white space only: the texts are words already.
    PreTokenized,
}

names!(Words, "rule for words",
    Corpus => "corpus" "By the rule that is stored in the file: as the task's corpus splits them",
    Unicode => "unicode" "At the word boundaries of Unicode (UAX 29)",
    PreTokenized => "pre-tokenized" "At white space only",
);

/// Which texts are tagged in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// None: texts that are longer than the tagger takes are errors.
    Never,
    /// Those that are longer than the tagger takes.
    #[default]
    Long,
    /// All: each sentence of a text is tagged by itself, as models are trained.
    Sentences,
}

names!(Split, "splitting of texts",
    Never => "never" "None: those that are longer than the tagger takes are errors",
    Long => "long" "Those that are longer than the tagger takes",
    Sentences => "sentences" "All: each sentence of a text is tagged by itself",
);

/// How target ids are found. A token classifier writes no target and ignores it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The ids of `Greedy` in fewer passes: the decoder verifies a draft of the whole target, and the ids after the first
    /// wrong one are drafted again.
    #[default]
    Verified,
    /// One id per step, each the most likely of the whole vocabulary, as in the paper (HyperLoader paper, section 3.6). The
    /// reference for the other modes.
    Greedy,
    /// The most likely of the ids that a well-formed target allows: always one tag of the task per word.
    Constrained,
    /// The tags of the file's drafter without verification: one pass of the encoder. The tags may differ from those of
    /// `Greedy`.
    Draft,
}

names!(Mode, "decoding mode",
    Verified => "verified" "The same tags as `greedy` in fewer passes: a draft of the whole target is checked in one pass and corrected from its first wrong token",
    Greedy => "greedy" "One token per pass, the most likely of the whole vocabulary, as in the paper",
    Constrained => "constrained" "As `verified`, with the most likely of the ids that a well-formed target allows: each word gets a known tag",
    Draft => "draft" "The draft without a check: only the encoder runs, and tags may differ from `greedy`",
);

/// What the drafts of [`Mode::Verified`] and [`Mode::Constrained`] are made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DraftFrom {
    /// The file's drafter, if it has one, and the decoder's choices after a wrong draft.
    #[default]
    Classifier,
    /// `O` for every word, then the decoder's choices after a wrong draft (Jacobi decoding, Santilli et al. 2023).
    Jacobi,
    /// `O` for every word, also after a wrong draft.
    Outside,
}

names!(DraftFrom, "source of drafts",
    Classifier => "classifier" "The file's tag classifier, if it has one; after a wrong draft, the decoder's output",
    Jacobi => "jacobi" "`O` for every word; after a wrong draft, the decoder's output (Jacobi decoding, Santilli et al. 2023)",
    Outside => "outside" "`O` for every word, also after a wrong draft",
);

/// How a tagger is run.
#[derive(Debug, Clone)]
pub struct TaggerOptions {
    /// The runtime, and how it runs graphs.
    pub backend: BackendOptions,
    /// Most sentences in a batch.
    pub batch_size: usize,
    /// Batches that run at the same time, each with [`BackendOptions::threads`] threads and sessions of its own.
    pub workers: usize,
    /// How texts are split into words. Lists of words are never split.
    pub words: Words,
    /// Which texts are tagged in parts.
    pub split: Split,
    /// How written tags are assigned to words.
    pub align: Alignment,
    /// How target ids are found.
    pub mode: Mode,
    /// The source of drafts.
    pub draft_from: DraftFrom,
    /// Whether to compute [`Tagged::scores`](crate::Tagged::scores). It changes no tag.
    pub scores: bool,
    /// Withhold the tags of sentences or of spans for which this guarantee does not hold; see
    /// [`Tagged::abstained`](crate::Tagged::abstained) and [`Tagged::withheld`](crate::Tagged::withheld). The sentences are
    /// scored.
    pub guarantee: Option<Guarantee>,
}

impl TaggerOptions {
    /// Whether sentences are scored.
    pub(crate) fn needs_scores(&self) -> bool {
        self.scores || self.guarantee.is_some()
    }
}

impl Default for TaggerOptions {
    fn default() -> Self {
        Self {
            backend: BackendOptions::default(),
            batch_size: 32,
            workers: 1,
            words: Words::default(),
            split: Split::default(),
            align: Alignment::default(),
            mode: Mode::default(),
            draft_from: DraftFrom::default(),
            scores: false,
            guarantee: None,
        }
    }
}
