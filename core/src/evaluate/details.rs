//! Error analysis: scores by label, confusions of labels, and the worst sentences.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::metrics::{Counts, Report, Scores};
use crate::text::spans::{Span, SpanMode, bio_to_spans};

/// The most sentences in [`Details::worst`].
const WORST: usize = 20;

/// The details of the evaluation of tagged sentences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Scores of each label that occurs in gold or predicted spans.
    pub per_label: BTreeMap<String, Scores>,
    /// Counts of pairs of gold and predicted labels, correct pairs included.
    pub confusion: Vec<Confusion>,
    /// The at most 20 sentences with the most wrong tags, in descending order.
    pub worst: Vec<Mistake>,
    /// Span counts of each sentence, in the order of the split. They are not written to the run folder.
    #[serde(skip)]
    pub counts: Vec<Counts>,
}

/// The number of spans with one gold label and one predicted label on identical boundaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The gold label; `None` if gold has no span on the predicted boundaries (a spurious span).
    pub gold: Option<String>,
    /// The predicted label; `None` if the prediction has no span on the gold boundaries (a missed span).
    pub predicted: Option<String>,
    /// The number of spans.
    pub count: usize,
}

/// A sentence with wrong tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Words of the sentence as the model reads them.
    pub words: Vec<String>,
    /// The gold BIO tags, one per word.
    pub gold: Vec<String>,
    /// The predicted BIO tags, one per word.
    pub predicted: Vec<String>,
    /// The number of words whose tags differ.
    pub wrong: usize,
}

/// A tagged sentence.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'a> {
    /// Words of the sentence as the model reads them.
    pub words: &'a [String],
    /// The gold BIO tags, one per word.
    pub gold: &'a [String],
    /// The predicted BIO tags, one per word.
    pub predicted: &'a [String],
}

impl Details {
    /// The details of `report`, which scores the same `sentences`.
    pub fn new(report: &Report, sentences: &[Sentence]) -> Self {
        Self {
            per_label: report.per_label.clone(),
            confusion: confusion(sentences),
            worst: worst(sentences),
            counts: sentences.iter().map(counts).collect(),
        }
    }
}

fn counts(sentence: &Sentence) -> Counts {
    let [gold, predicted] =
        [sentence.gold, sentence.predicted].map(|tags| bio_to_spans(tags, SpanMode::Default));
    Counts::of(&gold, &predicted)
}

fn confusion(sentences: &[Sentence]) -> Vec<Confusion> {
    let mut counts: BTreeMap<(Option<String>, Option<String>), usize> = BTreeMap::new();
    let mut count = |gold: Option<&Span>, predicted: Option<&Span>| {
        let label = |span: Option<&Span>| span.map(|span| span.label.clone());
        *counts.entry((label(gold), label(predicted))).or_default() += 1;
    };
    for sentence in sentences {
        let [gold, predicted] =
            [sentence.gold, sentence.predicted].map(|tags| bio_to_spans(tags, SpanMode::Default));
        // Spans of one side never overlap, so their boundaries identify them.
        for span in &gold {
            count(Some(span), same_boundaries(span, &predicted));
        }
        for span in predicted.iter().filter(|span| same_boundaries(span, &gold).is_none()) {
            count(None, Some(span));
        }
    }
    counts.into_iter().map(|((gold, predicted), count)| Confusion { gold, predicted, count }).collect()
}

fn same_boundaries<'a>(span: &Span, others: &'a [Span]) -> Option<&'a Span> {
    others.iter().find(|other| (other.start, other.end) == (span.start, span.end))
}

fn worst(sentences: &[Sentence]) -> Vec<Mistake> {
    let wrong = |s: &Sentence| s.gold.iter().zip(s.predicted).filter(|(gold, tag)| gold != tag).count();
    let mut ranked: Vec<(usize, &Sentence)> =
        sentences.iter().map(|s| (wrong(s), s)).filter(|(wrong, _)| *wrong > 0).collect();
    ranked.sort_by_key(|(wrong, _)| std::cmp::Reverse(*wrong));
    let mistake = |(wrong, s): (usize, &Sentence)| Mistake {
        words: s.words.to_vec(),
        gold: s.gold.to_vec(),
        predicted: s.predicted.to_vec(),
        wrong,
    };
    ranked.into_iter().take(WORST).map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::metrics::evaluate;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn details(rows: &[(&str, &str)]) -> Details {
        let rows: Vec<_> = rows.iter().map(|(gold, predicted)| (words(gold), words(predicted))).collect();
        analyse(&rows)
    }

    fn analyse(rows: &[(Vec<String>, Vec<String>)]) -> Details {
        let (gold, predicted): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let report = evaluate(&gold, &predicted, SpanMode::Default).unwrap();
        let sentences: Vec<Sentence> =
            rows.iter().map(|(gold, predicted)| Sentence { words: gold, gold, predicted }).collect();
        Details::new(&report, &sentences)
    }

    #[test]
    fn spans_are_confused_on_identical_boundaries_and_otherwise_missed_or_spurious() {
        let details =
            details(&[("B-a I-a O B-b O", "B-b I-b O B-b O"), ("B-a I-a O O B-c", "B-a O O B-d O")]);
        let cells: Vec<_> =
            details.confusion.iter().map(|c| (c.gold.as_deref(), c.predicted.as_deref(), c.count)).collect();
        let expected = [
            (None, Some("a"), 1),
            (None, Some("d"), 1),
            (Some("a"), None, 1),
            (Some("a"), Some("b"), 1),
            (Some("b"), Some("b"), 1),
            (Some("c"), None, 1),
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn the_worst_sentences_come_first_and_correct_ones_are_left_out() {
        let details = details(&[("O O O", "O B-a O"), ("B-a O O", "B-a O O"), ("B-a I-a O", "O O B-a")]);
        assert_eq!(details.worst.iter().map(|m| m.wrong).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(details.worst[1].predicted, ["O", "B-a", "O"]);
        let many = vec![("B-a", "O"); WORST + 5];
        assert_eq!(self::details(&many).worst.len(), WORST);
    }

    fn tags() -> impl Strategy<Value = Vec<(Vec<String>, Vec<String>)>> {
        let tag = || prop::sample::select(vec!["O", "B-a", "I-a", "B-b", "I-b"]).prop_map(str::to_owned);
        prop::collection::vec(prop::collection::vec((tag(), tag()), 1..8), 0..6)
            .prop_map(|rows| rows.into_iter().map(|row| row.into_iter().unzip()).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_table_counts_every_span_once(rows in tags()) {
            let details = analyse(&rows);
            let spans = |tags: &Vec<String>| bio_to_spans(tags, SpanMode::Default).len();
            let sum = |counts: fn(&Confusion) -> bool| -> usize {
                details.confusion.iter().filter(|c| counts(c)).map(|c| c.count).sum()
            };
            prop_assert_eq!(sum(|c| c.gold.is_some()), rows.iter().map(|row| spans(&row.0)).sum::<usize>());
            prop_assert_eq!(sum(|c| c.predicted.is_some()), rows.iter().map(|row| spans(&row.1)).sum::<usize>());
            let mut sum = Counts::default();
            details.counts.iter().for_each(|sentence| sum += *sentence);
            let right = |c: &&Confusion| c.gold.is_some() && c.gold == c.predicted;
            let right = details.confusion.iter().filter(right).map(|c| c.count).sum::<usize>();
            prop_assert_eq!((sum.correct, details.counts.len()), (right, rows.len()));
            let (gold, predicted): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
            prop_assert_eq!(sum, evaluate(&gold, &predicted, SpanMode::Default).unwrap().counts);
            for (label, scores) in &details.per_label {
                let right = details.confusion.iter()
                    .find(|c| c.gold.as_ref() == Some(label) && c.predicted.as_ref() == Some(label));
                let right = right.map_or(0, |c| c.count) as f64;
                prop_assert!((scores.recall * scores.support as f64 - right).abs() < 1e-9);
            }
        }
    }
}
