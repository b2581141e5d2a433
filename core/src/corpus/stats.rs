//! What a corpus holds, in numbers.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{Sentence, Splits};
use crate::spans::{Bio, SpanMode, bio_to_spans};

/// Numbers of one split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SplitStats {
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// Words of the longest sentence.
    pub longest: usize,
    /// Spans of each label, read as seqeval's default mode does.
    pub labels: BTreeMap<String, usize>,
    /// Sentences whose words occurred earlier in the split.
    pub duplicates: usize,
    /// `I-x` that follow neither `B-x` nor `I-x`.
    pub ill_formed_tags: usize,
}

/// Numbers of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorpusStats {
    /// Training sentences.
    pub train: SplitStats,
    /// Validation sentences.
    pub valid: SplitStats,
    /// Test sentences.
    pub test: SplitStats,
    /// Spans of each label over all splits.
    pub labels: BTreeMap<String, usize>,
    /// Test sentences whose words occur in a training sentence.
    pub test_in_train: usize,
}

impl SplitStats {
    /// Counts `sentences`.
    pub fn of(sentences: &[Sentence]) -> Self {
        let mut stats = Self { sentences: sentences.len(), ..Self::default() };
        let mut seen = HashSet::new();
        for sentence in sentences {
            stats.words += sentence.words.len();
            stats.longest = stats.longest.max(sentence.words.len());
            stats.duplicates += usize::from(!seen.insert(&sentence.words));
            stats.ill_formed_tags += ill_formed(&sentence.tags);
            for span in bio_to_spans(&sentence.tags, SpanMode::Default) {
                *stats.labels.entry(span.label).or_default() += 1;
            }
        }
        stats
    }
}

impl CorpusStats {
    /// Counts all splits.
    pub fn of(splits: &Splits) -> Self {
        let known: HashSet<&[String]> = splits.train.iter().map(|sentence| &*sentence.words).collect();
        let [train, valid, test] =
            [&splits.train, &splits.valid, &splits.test].map(|split| SplitStats::of(split));
        let mut labels = BTreeMap::new();
        for (label, count) in [&train, &valid, &test].into_iter().flat_map(|split| &split.labels) {
            *labels.entry(label.clone()).or_default() += count;
        }
        let test_in_train = splits.test.iter().filter(|sentence| known.contains(&*sentence.words)).count();
        Self { train, valid, test, labels, test_in_train }
    }
}

fn ill_formed(tags: &[String]) -> usize {
    let parsed = || tags.iter().map(|tag| Bio::parse(tag).unwrap_or(Bio::Outside));
    let before = std::iter::once(Bio::Outside).chain(parsed());
    let stray =
        |(tag, before): &(Bio<'_>, Bio<'_>)| matches!(tag, Bio::Inside(_)) && tag.label() != before.label();
    parsed().zip(before).filter(stray).count()
}
