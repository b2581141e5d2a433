//! Slot-filling scores, number for number as seqeval 1.2.2 gives them (zero divisions count as 0).

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::text::spans::{Span, SpanMode, bio_to_spans};

/// Precision, recall and F1, each in `[0, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of predicted spans that are right.
    pub precision: f64,
    /// Share of gold spans that were found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of gold spans.
    pub support: usize,
}

/// Span counts from which scores are computed. A span is right if label, first and last word agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Spans in gold and prediction alike.
    pub correct: usize,
    /// Spans in the prediction.
    pub predicted: usize,
    /// Spans in gold.
    pub gold: usize,
}

/// All scores of a set of sentences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Share of words whose tag equals gold; NaN if there is no word.
    pub accuracy: f64,
    /// Counts summed over labels.
    pub counts: Counts,
    /// Scores of the summed counts: the figure that papers report.
    pub micro: Scores,
    /// Unweighted mean over labels; NaN if neither side has a span.
    #[serde(rename = "macro")]
    pub macro_: Scores,
    /// Mean over labels, weighted by gold spans; 0 if gold has none.
    pub weighted: Scores,
    /// Scores of each label that gold or prediction holds, by label.
    pub per_label: BTreeMap<String, Scores>,
}

/// Gold and prediction that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Numbers of sentences differ.
    #[error("{gold} gold sentences but {predicted} predicted ones")]
    Sentences {
        /// Gold sentences.
        gold: usize,
        /// Predicted sentences.
        predicted: usize,
    },
    /// Lengths of one sentence differ.
    #[error("sentence {sentence} has {gold} gold tags but {predicted} predicted ones")]
    Length {
        /// Index of the sentence.
        sentence: usize,
        /// Gold tags.
        gold: usize,
        /// Predicted tags.
        predicted: usize,
    },
}

/// Scores predicted BIO sequences against gold ones of the same lengths.
///
/// # Errors
/// If numbers of sentences, or lengths of a sentence, differ (see [`crate::text::spans::fit_to_length`]).
pub fn evaluate<G: AsRef<str>, P: AsRef<str>>(
    gold: &[Vec<G>],
    predicted: &[Vec<P>],
    mode: SpanMode,
) -> Result<Report, MetricError> {
    if gold.len() != predicted.len() {
        return Err(MetricError::Sentences { gold: gold.len(), predicted: predicted.len() });
    }
    let (mut words, mut equal) = (0, 0);
    let mut labels: BTreeMap<String, Counts> = BTreeMap::new();
    for (sentence, (gold, predicted)) in gold.iter().zip(predicted).enumerate() {
        if gold.len() != predicted.len() {
            return Err(MetricError::Length { sentence, gold: gold.len(), predicted: predicted.len() });
        }
        words += gold.len();
        equal += gold.iter().zip(predicted).filter(|(g, p)| g.as_ref() == p.as_ref()).count();
        count(&bio_to_spans(gold, mode), &bio_to_spans(predicted, mode), &mut labels);
    }
    Ok(Report::new(equal as f64 / words as f64, &labels))
}

fn count(gold: &[Span], predicted: &[Span], labels: &mut BTreeMap<String, Counts>) {
    let known: HashSet<&Span> = gold.iter().collect();
    for span in gold {
        labels.entry(span.label.clone()).or_default().gold += 1;
    }
    for span in predicted {
        let counts = labels.entry(span.label.clone()).or_default();
        counts.predicted += 1;
        counts.correct += usize::from(known.contains(span));
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.correct += other.correct;
        self.predicted += other.predicted;
        self.gold += other.gold;
    }
}

impl Counts {
    /// The counts of one sentence's spans; summed over sentences they are those of [`evaluate`].
    pub fn of(gold: &[Span], predicted: &[Span]) -> Self {
        let known: HashSet<&Span> = gold.iter().collect();
        let correct = predicted.iter().filter(|span| known.contains(span)).count();
        Self { correct, predicted: predicted.len(), gold: gold.len() }
    }

    /// Scores of these counts.
    pub fn scores(self) -> Scores {
        let ratio = |part: f64, whole: f64| if whole == 0.0 { 0.0 } else { part / whole };
        let precision = ratio(self.correct as f64, self.predicted as f64);
        let recall = ratio(self.correct as f64, self.gold as f64);
        let f1 = ratio(2.0 * precision * recall, precision + recall);
        Scores { precision, recall, f1, support: self.gold }
    }
}

impl Report {
    fn new(accuracy: f64, labels: &BTreeMap<String, Counts>) -> Self {
        let mut counts = Counts::default();
        labels.values().for_each(|of_label| counts += *of_label);
        let per_label: BTreeMap<String, Scores> =
            labels.iter().map(|(label, counts)| (label.clone(), counts.scores())).collect();
        // The mean over no label is 0 / 0: NaN, as in seqeval.
        let macro_ = mean(&per_label, counts.gold, |_| 1.0);
        let weighted = match counts.gold {
            0 => Scores::default(),
            _ => mean(&per_label, counts.gold, |scores| scores.support as f64),
        };
        Self { accuracy, counts, micro: counts.scores(), macro_, weighted, per_label }
    }
}

fn mean(labels: &BTreeMap<String, Scores>, support: usize, weight: impl Fn(&Scores) -> f64) -> Scores {
    let whole: f64 = labels.values().map(&weight).sum();
    let of = |value: fn(&Scores) -> f64| {
        labels.values().map(|scores| weight(scores) * value(scores)).sum::<f64>() / whole
    };
    Scores { precision: of(|s| s.precision), recall: of(|s| s.recall), f1: of(|s| s.f1), support }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_unequal_length_are_refused_with_both_lengths() {
        let error = evaluate(&[vec!["O"], vec!["O"]], &[vec!["O"], vec!["O", "O"]], SpanMode::Default);
        assert_eq!(error.unwrap_err().to_string(), "sentence 1 has 1 gold tags but 2 predicted ones");
        let error = evaluate(&[vec!["O"]], &[] as &[Vec<&str>], SpanMode::Default);
        assert_eq!(error.unwrap_err().to_string(), "1 gold sentences but 0 predicted ones");
    }
}
