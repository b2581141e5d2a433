//! Where a corpus lies and which sentences of it make up a split.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CorpusError, Labels, Layout, Sentence, draw, read};
use crate::text::words::WordSplitting;

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

/// Where a corpus lies and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusSpec {
    /// Layout of all files.
    pub layout: Layout,
    /// Training file, or folder for `seq-in-out`.
    pub train: PathBuf,
    /// Validation file; without one, a part of the training sentences is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
    /// Test file.
    pub test: PathBuf,
    /// Share of the training sentences that is held out (rounded up) if there is no validation file.
    #[serde(default = "one_tenth")]
    pub valid_fraction: f64,
    /// Seed of that choice.
    #[serde(default)]
    pub seed: u64,
    /// Rewriting of labels.
    #[serde(default)]
    pub labels: Labels,
    /// How free text is cut into words; by default as the layout's corpora are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<WordSplitting>,
}

fn one_tenth() -> f64 {
    0.1
}

impl CorpusSpec {
    /// A corpus with the default settings for its layout.
    pub fn new(
        layout: Layout,
        train: impl Into<PathBuf>,
        valid: Option<PathBuf>,
        test: impl Into<PathBuf>,
    ) -> Self {
        Self {
            layout,
            train: train.into(),
            valid,
            test: test.into(),
            valid_fraction: one_tenth(),
            seed: 0,
            labels: Labels::default(),
            words: None,
        }
    }

    /// The same with relative paths taken from `folder`, where the configuration lies.
    pub fn resolved(mut self, folder: &Path) -> Self {
        for path in [&mut self.train, &mut self.test].into_iter().chain(&mut self.valid) {
            *path = folder.join(&path);
        }
        self
    }

    /// How free text is cut into words.
    pub fn word_splitting(&self) -> WordSplitting {
        self.words.unwrap_or_else(|| self.layout.words())
    }

    /// One split of the corpus.
    ///
    /// # Errors
    /// If a file cannot be read or a line of it is wrong; if the hold-out leaves a split empty.
    pub fn load_split(&self, split: Split) -> Result<Vec<Sentence>, CorpusError> {
        match (split, &self.valid) {
            (Split::Test, _) => self.read(&self.test),
            (Split::Train, Some(_)) => self.read(&self.train),
            (Split::Valid, Some(valid)) => self.read(valid),
            (Split::Train, None) => Ok(self.hold_out()?.0),
            (Split::Valid, None) => Ok(self.hold_out()?.1),
        }
    }

    /// All splits of the corpus.
    ///
    /// # Errors
    /// As [`CorpusSpec::load_split`].
    pub fn load(&self) -> Result<Splits, CorpusError> {
        let (train, valid) = match &self.valid {
            Some(valid) => (self.read(&self.train)?, self.read(valid)?),
            None => self.hold_out()?,
        };
        Ok(Splits { train, valid, test: self.read(&self.test)? })
    }

    fn hold_out(&self) -> Result<(Vec<Sentence>, Vec<Sentence>), CorpusError> {
        let share = self.valid_fraction;
        if !(share > 0.0 && share < 1.0) {
            return Err(CorpusError::Fraction { name: "valid_fraction", value: share, bound: "under" });
        }
        let sentences = self.read(&self.train)?;
        let count = draw::ceil_share(share, sentences.len());
        if count == sentences.len() {
            return Err(CorpusError::NothingLeft {
                path: self.train.clone(),
                share: 1.0 - share,
                sentences: count,
            });
        }
        let held = draw::choose(sentences.len(), count, self.seed);
        let (valid, train): (Vec<_>, Vec<_>) =
            sentences.into_iter().enumerate().partition(|(index, _)| held.binary_search(index).is_ok());
        let plain = |split: Vec<(usize, Sentence)>| split.into_iter().map(|(_, sentence)| sentence).collect();
        Ok((plain(train), plain(valid)))
    }

    fn read(&self, path: &Path) -> Result<Vec<Sentence>, CorpusError> {
        let transform = self.labels.transform(self.layout);
        read(path, self.layout, &transform, self.word_splitting())
    }
}

/// `floor(fraction * N)` of `sentences` in their order, chosen by `seed` without replacement (the paper's low-resource settings). With
/// one seed a smaller subset is part of a larger one.
///
/// # Errors
/// If `fraction` is not over 0 and at most 1.
pub fn subset(sentences: Vec<Sentence>, fraction: f64, seed: u64) -> Result<Vec<Sentence>, CorpusError> {
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(CorpusError::Fraction { name: "fraction", value: fraction, bound: "at most" });
    }
    let count = subset_size(sentences.len(), fraction);
    let chosen = draw::choose(sentences.len(), count, seed);
    let mut index = 0;
    let mut sentences = sentences;
    sentences.retain(|_| {
        index += 1;
        chosen.binary_search(&(index - 1)).is_ok()
    });
    Ok(sentences)
}

/// How many of `sentences` a [`subset`] keeps: `floor(fraction * N)`, as the reference implementation's low-resource files.
pub fn subset_size(sentences: usize, fraction: f64) -> usize {
    draw::floor_share(fraction, sentences)
}
