//! Where a corpus lies and which sentences of it make up a split.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::convert::Making;
use super::draw;
use super::error::CorpusError;
use super::layout::Layout;
use super::load::Draft;
use super::options::{Columns, Fields, OffsetUnit, Overlap, ReadOptions, SpanAlignment};
use super::pattern;
use super::records::layout_of;
use super::report::ReadReport;
use super::sentence::Sentence;
use super::shards::{self, ShardSettings, Shards};
use super::transform::Labels;
use super::word_rule::Fits;
use crate::text::scheme::Scheme;
use crate::text::words::{WordFit, WordSplitting};

/// A part of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// For training.
    Train,
    /// For the choice of a checkpoint.
    Valid,
    /// For the final scores.
    Test,
}

/// All parts of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splits {
    /// For training.
    pub train: Vec<Sentence>,
    /// For the choice of a checkpoint.
    pub valid: Vec<Sentence>,
    /// For the final scores.
    pub test: Vec<Sentence>,
}

/// The splits of a corpus, and a report on reading each file.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// Sentences of each split, in the order of the files.
    pub splits: Splits,
    /// The report on reading each file.
    pub files: Vec<FileReport>,
    /// How free text is cut into words: as configured, or derived from the training file's tokens, or as usual for the layout.
    pub words: WordSplitting,
    /// How well that reproduces the training file's tokens, if it has tokens.
    pub word_fit: Option<WordFit>,
}

/// What reading the training split found that the other splits depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainParts {
    /// The report on reading it.
    pub report: FileReport,
    /// How free text is cut into words.
    pub words: WordSplitting,
    /// How well that reproduces the tokens, if there are tokens.
    pub word_fit: Option<WordFit>,
    /// What labels were before their case was changed, by what they are after it.
    pub labels: BTreeMap<String, String>,
}

/// The splits besides the training split.
#[derive(Debug)]
pub struct Others {
    /// The sentences of the validation file, if there is one.
    pub valid: Option<Vec<Sentence>>,
    /// Those of the test file, if there is one.
    pub test: Option<Vec<Sentence>>,
    /// The reports on reading all files, the training file first.
    pub files: Vec<FileReport>,
}

/// A report on reading a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// What the file is for; the training file also where other splits are drawn from it.
    pub split: Split,
    /// Path of the file.
    pub path: PathBuf,
    /// The report on reading it.
    #[serde(flatten)]
    pub report: ReadReport,
}

/// Where a corpus lies and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusSpec {
    /// Layout of all files; by the extension of each file where absent: `.conll`, `.iob`, `.iob2`, `.jsonl`, `.ndjson`, `.json`, `.csv`,
    /// `.tsv`, also with `.gz` or `.zst` after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Training file, or folder for `seq-in-out`. The name of the file may be a pattern with `*` and `?`: the files that match
    /// are read as one, in the order of their names.
    pub train: PathBuf,
    /// Whether the training sentences are read from disk during training. They need not fit in memory then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stream: bool,
    /// Validation file; where absent, `holdout` of the training sentences are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
    /// Test file; where absent, `holdout` of the training sentences are held out, before the validation sentences are. With
    /// `stream`, there is no test split then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Share of the training sentences (rounded up) that is held out for each split without a file. Over 0 and under 1; 0.1 where absent.
    #[serde(default = "one_tenth", alias = "valid_fraction")]
    pub holdout: f64,
    /// Seed of that choice.
    #[serde(default)]
    pub seed: u64,
    /// Which labels are learned: `"keep"` (as in the files, the default), `"plain"`, `"reference"`, or a table with `strip_prefix`,
    /// `cut_at` and `case = "keep"` or `"lower"`. Two labels that become one through a change of case or prefix are an error.
    #[serde(default)]
    pub labels: Labels,
    /// How free text is cut into words, and text with spans for training: `"whitespace"`, `"punctuation"`, `"clitics"`, `"unicode"`, or
    /// a table `{ rule = "punctuation", lowercase = true }`. Where absent, the rule that reproduces most tokens of the training
    /// file, and `punctuation` if it has no tokens; lower case if no token has an upper-case letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<WordSplitting>,
    /// Scheme of the tags: `"bio"`, `"iob1"`, `"io"`, `"iobes"`, `"bilou"` or `"bmes"`; recognized for each file where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Label of tags that have none (`B`, `I`, `O`); `entity` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Roles of the columns of `conll`, `csv` and `tsv`, from left to right: `"word"`, `"tag"`, `"index"` (counts the words), `"sentence"`
    /// (in tables), `"_"` (skipped) and `"*"` (any number of skipped columns).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Names of JSON fields and table columns, where they are not the usual ones: a table with `text`, `tokens`, `tags`, `spans`
    /// and `sentence`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fields: Fields,
    /// The tags that integer tags stand for, in order from 0 on (`ner_tags` of Hugging Face data sets).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_names: Vec<String>,
    /// What offsets of spans count: `"chars"` (the default), `"bytes"` or `"utf16"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offsets: OffsetUnit,
    /// What to do with spans that overlap: `"error"` (the default), `"longest"` or `"first"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// What to do with spans that begin or end inside a word: `"expand"` (to whole words, counted; the default) or `"error"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub span_alignment: SpanAlignment,
    /// The byte between the cells of CSV, see [`ReadOptions::separator`]. It is not part of a configuration.
    #[serde(skip)]
    pub separator: Option<u8>,
}

fn one_tenth() -> f64 {
    0.1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl CorpusSpec {
    /// A corpus with the default settings for its layout.
    pub fn new(
        layout: Layout,
        train: impl Into<PathBuf>,
        valid: Option<PathBuf>,
        test: impl Into<PathBuf>,
    ) -> Self {
        Self { layout: Some(layout), valid, test: Some(test.into()), ..Self::of_file(train) }
    }

    /// A corpus of one file with the default settings.
    pub fn of_file(train: impl Into<PathBuf>) -> Self {
        Self {
            layout: None,
            train: train.into(),
            stream: false,
            valid: None,
            test: None,
            holdout: one_tenth(),
            seed: 0,
            labels: Labels::default(),
            words: None,
            scheme: None,
            label: None,
            columns: None,
            fields: Fields::default(),
            tag_names: Vec::new(),
            offsets: OffsetUnit::default(),
            overlap: Overlap::default(),
            span_alignment: SpanAlignment::default(),
            separator: None,
        }
    }

    /// All files of the corpus.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.train).chain(&mut self.valid).chain(&mut self.test)
    }

    /// The same with relative paths taken from `folder`, where the configuration lies.
    pub fn resolved(mut self, folder: &Path) -> Self {
        self.paths_mut().for_each(|path| *path = folder.join(&path));
        self
    }

    /// How the files are read.
    pub fn options(&self) -> ReadOptions {
        ReadOptions {
            fields: self.fields.clone(),
            columns: self.columns.clone(),
            offsets: self.offsets,
            tag_names: self.tag_names.clone(),
            scheme: self.scheme,
            label: self.label.clone(),
            overlap: self.overlap,
            alignment: self.span_alignment,
            separator: self.separator,
            to_tag: false,
        }
    }

    /// One split of the corpus.
    ///
    /// # Errors
    /// As [`CorpusSpec::read`].
    pub fn load_split(&self, split: Split) -> Result<Vec<Sentence>, CorpusError> {
        let Splits { train, valid, test } = self.load()?;
        Ok(match split {
            Split::Train => train,
            Split::Valid => valid,
            Split::Test => test,
        })
    }

    /// All splits of the corpus.
    ///
    /// # Errors
    /// As [`CorpusSpec::read`].
    pub fn load(&self) -> Result<Splits, CorpusError> {
        self.read().map(|corpus| corpus.splits)
    }

    /// The corpus, and what reading it did.
    ///
    /// # Errors
    /// If a file cannot be read or a record of it is bad; if the hold-out leaves a split empty.
    pub fn read(&self) -> Result<Corpus, CorpusError> {
        let (train, parts) = match pattern::is_pattern(&self.train) {
            true => self.read_shards()?,
            false => self.read_train()?,
        };
        self.split(train, parts)
    }

    /// The training sentences of a pattern of files.
    fn read_shards(&self) -> Result<(Vec<Sentence>, TrainParts), CorpusError> {
        let mut shards = self.shards()?;
        let sentences = shards.read().collect::<Result<_, _>>()?;
        Ok((sentences, self.parts(&shards)))
    }

    /// The training sentences of one file.
    fn read_train(&self) -> Result<(Vec<Sentence>, TrainParts), CorpusError> {
        let mut draft = self.draft(&self.train, &self.options())?;
        let (words, word_fit) = self.word_splitting(&mut draft);
        let mut labels = BTreeMap::new();
        let transform = self.labels.transform(draft.report().layout);
        let (train, report) = draft.finish(Making { words, transform, labels: &mut labels })?;
        Ok((train, TrainParts { report: self.train_report(report), words, word_fit, labels }))
    }

    /// The files of the training split, read for the first time.
    ///
    /// # Errors
    /// If a file cannot be read, a record is bad, tags fit no scheme together, there is no annotation, or a label cannot be
    /// used.
    pub fn shards(&self) -> Result<Shards, CorpusError> {
        match self.shards_while(&mut |_| ControlFlow::<Infallible>::Continue(()))? {
            ControlFlow::Continue(shards) => Ok(shards),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// As [`CorpusSpec::shards`]. `each` is called with the number of records before each of them, and ends the reading where it
    /// breaks.
    ///
    /// # Errors
    /// As [`CorpusSpec::shards`].
    pub fn shards_while<B>(
        &self,
        each: &mut dyn FnMut(usize) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Shards>, CorpusError> {
        let (layout, words, labels) = (self.layout, self.words, &self.labels);
        Shards::survey(&self.train, &ShardSettings { layout, options: self.options(), labels, words }, each)
    }

    /// The files of the training split: those that match a pattern, or one.
    ///
    /// # Errors
    /// If the layout is one of two files, no file matches, or one is not a regular file.
    pub fn train_files(&self) -> Result<Vec<PathBuf>, CorpusError> {
        shards::files(&self.train, self.layout)
    }

    /// What the other splits depend on.
    pub fn parts(&self, shards: &Shards) -> TrainParts {
        TrainParts {
            report: self.train_report(shards.report().clone()),
            words: shards.words,
            word_fit: shards.word_fit,
            labels: shards.labels.clone(),
        }
    }

    fn train_report(&self, report: ReadReport) -> FileReport {
        FileReport { split: Split::Train, path: self.train.clone(), report }
    }

    /// The corpus whose training file has these sentences. Splits without a file are taken from them.
    ///
    /// # Errors
    /// As [`CorpusSpec::read`].
    fn split(&self, mut train: Vec<Sentence>, parts: TrainParts) -> Result<Corpus, CorpusError> {
        let TrainParts { words, word_fit, .. } = parts;
        let Others { valid, test, files } = self.read_others(parts)?;
        let all = train.len();
        // The validation sentences are those that are chosen where only they are missing.
        let test = match test {
            Some(test) => test,
            // No training sentence of a stream is kept from training.
            None if self.stream => Vec::new(),
            None => self.hold_out(&mut train, all, self.seed.wrapping_add(1))?,
        };
        let valid = match valid {
            Some(valid) => valid,
            None => self.hold_out(&mut train, all, self.seed)?,
        };
        Ok(Corpus { splits: Splits { train, valid, test }, files, words, word_fit })
    }

    /// The validation and the test split, as far as they have files, and the reports on all files.
    ///
    /// # Errors
    /// If a file cannot be read or a record of it is bad.
    pub fn read_others(&self, parts: TrainParts) -> Result<Others, CorpusError> {
        let TrainParts { report, words, mut labels, .. } = parts;
        let (options, mut files) = (self.options(), vec![report]);
        let mut read = |split, path: &Option<PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let mut draft = self.draft(path, &options)?;
            let transform = self.labels.transform(draft.report().layout);
            let (sentences, report) = draft.finish(Making { words, transform, labels: &mut labels })?;
            files.push(FileReport { split, path: path.clone(), report });
            Ok::<_, CorpusError>(Some(sentences))
        };
        let (valid, test) = (read(Split::Valid, &self.valid)?, read(Split::Test, &self.test)?);
        Ok(Others { valid, test, files })
    }

    /// The sentences of one labelled file, read with these settings, and a report on reading it. Where [`CorpusSpec::words`] is
    /// absent, the rule for free text is derived from the file's own tokens.
    ///
    /// # Errors
    /// If the file cannot be read or a record of it is bad.
    pub fn read_file(&self, path: &Path) -> Result<(Vec<Sentence>, ReadReport), CorpusError> {
        let mut draft = self.draft(path, &self.options())?;
        let (words, _) = self.word_splitting(&mut draft);
        let transform = self.labels.transform(draft.report().layout);
        draft.finish(Making { words, transform, labels: &mut BTreeMap::new() })
    }

    fn draft(&self, path: &Path, options: &ReadOptions) -> Result<Draft, CorpusError> {
        Draft::read(path, layout_of(path, self.layout)?, options)
    }

    /// How free text is cut into words, and how well that fits the tokens of the training file, which the report gets.
    fn word_splitting(&self, train: &mut Draft) -> (WordSplitting, Option<WordFit>) {
        let usual = train.report().layout.words();
        let (words, fit) = Fits::of(&train.records).choice(self.words, usual);
        train.report().words = fit;
        (words, fit)
    }

    /// Takes `holdout` of `all` sentences from `train`.
    fn hold_out(
        &self,
        train: &mut Vec<Sentence>,
        all: usize,
        seed: u64,
    ) -> Result<Vec<Sentence>, CorpusError> {
        let share = self.holdout;
        if !(share > 0.0 && share < 1.0) {
            return Err(CorpusError::Fraction { name: "holdout", value: share, bound: "under" });
        }
        let count = draw::ceil_share(share, all);
        if count >= train.len() {
            return Err(CorpusError::NothingLeft {
                path: self.train.clone(),
                share: 1.0 - share,
                sentences: all,
            });
        }
        let held = draw::choose(train.len(), count, seed);
        let (held, rest): (Vec<_>, Vec<_>) = std::mem::take(train)
            .into_iter()
            .enumerate()
            .partition(|(index, _)| held.binary_search(index).is_ok());
        let plain = |split: Vec<(usize, Sentence)>| split.into_iter().map(|(_, sentence)| sentence).collect();
        *train = plain(rest);
        Ok(plain(held))
    }
}
