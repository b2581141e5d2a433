//! Counts of a corpus.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::sentence::Sentence;
use super::spec::{FileReport, Split, Splits};
use crate::percentiles::Percentiles;
use crate::text::spans::{SpanMode, bio_to_spans};

/// Numbers of one split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SplitStats {
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// Words of a sentence.
    pub sentence_words: Percentiles,
    /// Spans of each label, read as seqeval's default mode does.
    pub labels: BTreeMap<String, usize>,
    /// Sentences whose words occurred earlier in the split.
    pub duplicates: usize,
    /// Tags of the file that were out of sequence, such as `I-x` after neither `B-x` nor `I-x`; they were repaired.
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
    /// Test sentences whose words occur in a training sentence.
    pub test_in_train: usize,
    /// Labels of test sentences that no training or validation sentence has.
    pub labels_only_in_test: Vec<String>,
}

impl SplitStats {
    /// Counts `sentences`.
    pub fn of(sentences: &[Sentence]) -> Self {
        let lengths: Vec<usize> = sentences.iter().map(|sentence| sentence.words.len()).collect();
        let mut stats = Self {
            sentences: sentences.len(),
            words: lengths.iter().sum(),
            sentence_words: Percentiles::of(lengths),
            ..Self::default()
        };
        let mut seen = HashSet::new();
        for sentence in sentences {
            stats.duplicates += usize::from(!seen.insert(&sentence.words));
            for span in bio_to_spans(&sentence.tags, SpanMode::Default) {
                *stats.labels.entry(span.label).or_default() += 1;
            }
        }
        stats
    }
}

impl CorpusStats {
    /// Counts all splits; `files` is what reading them did.
    pub fn of(splits: &Splits, files: &[FileReport]) -> Self {
        let known: HashSet<&[String]> = splits.train.iter().map(|sentence| &*sentence.words).collect();
        let [mut train, mut valid, mut test] =
            [&splits.train, &splits.valid, &splits.test].map(|split| SplitStats::of(split));
        for FileReport { split, report, .. } in files {
            let repaired = report.tags.as_ref().map_or(0, |tags| tags.repaired);
            match split {
                Split::Train => train.ill_formed_tags += repaired,
                Split::Valid => valid.ill_formed_tags += repaired,
                Split::Test => test.ill_formed_tags += repaired,
            }
        }
        let test_in_train = splits.test.iter().filter(|sentence| known.contains(&*sentence.words)).count();
        let unseen =
            |label: &&String| !train.labels.contains_key(*label) && !valid.labels.contains_key(*label);
        let labels_only_in_test = test.labels.keys().filter(unseen).cloned().collect();
        Self { train, valid, test, test_in_train, labels_only_in_test }
    }

    /// Spans of each label of the corpus in train, valid and test.
    pub fn labels(&self) -> BTreeMap<&str, [usize; 3]> {
        let mut labels: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for (split, stats) in [&self.train, &self.valid, &self.test].into_iter().enumerate() {
            for (label, count) in &stats.labels {
                labels.entry(label).or_default()[split] = *count;
            }
        }
        labels
    }
}
