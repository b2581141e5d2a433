//! Two taggers on the same sentences.

use hyperloader_core::corpus::Sentence;
use hyperloader_core::evaluate::bootstrap::{paired_bootstrap, resample};
use hyperloader_core::text::metrics::Counts;
use serde::Serialize;

use super::Evaluation;

/// Draws of the bootstrap.
const DRAWS: usize = 10_000;

/// How two taggers differ.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Span F1 of the first and of the second tagger.
    pub f1: [f64; 2],
    /// F1 of the second minus that of the first.
    pub difference: f64,
    /// The estimated probability of a difference at least as large if the taggers were equally good (paired bootstrap,
    /// [`hyperloader_core::evaluate::bootstrap`]). 0 means less than one in 10,000.
    pub p: f64,
    /// Number of draws that `p` is estimated from.
    pub draws: usize,
    /// Sentences that the taggers tag differently.
    pub differing: usize,
    /// The first of them.
    pub shown: Vec<Difference>,
}

/// A sentence that two taggers tag differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Line of the file at which it begins, from 1.
    pub line: usize,
    /// The words.
    pub words: Vec<String>,
    /// The gold BIO tags.
    pub gold: Vec<String>,
    /// The BIO tags of the first tagger.
    pub first: Vec<String>,
    /// The BIO tags of the second tagger.
    pub second: Vec<String>,
}

impl Comparison {
    /// Compares the evaluations of two taggers on the same `sentences`; at most `shown` sentences are kept.
    pub fn new(sentences: &[Sentence], first: &Evaluation, second: &Evaluation, shown: usize) -> Self {
        let counts = |evaluation: &Evaluation| -> Vec<[usize; 3]> {
            let of = |counts: &Counts| [counts.correct, counts.predicted, counts.gold];
            evaluation.details.counts.iter().map(of).collect()
        };
        let samples = resample(&[&counts(first), &counts(second)], DRAWS, 0);
        let (difference, p) = match &samples[..] {
            // p is one-sided, for the tagger that is better here.
            [first, second] if second.observed >= first.observed => paired_bootstrap(&[(second, first)]),
            [first, second] => {
                let (difference, p) = paired_bootstrap(&[(first, second)]);
                (-difference, p)
            }
            _ => (0.0, 1.0),
        };
        let rows = sentences.iter().zip(first.predicted.iter().zip(&second.predicted));
        let differing: Vec<_> = rows.filter(|(_, (first, second))| first != second).collect();
        let difference_of =
            |(sentence, (first, second)): &(&Sentence, (&Vec<String>, &Vec<String>))| Difference {
                line: sentence.line,
                words: sentence.words.clone(),
                gold: sentence.tags.clone(),
                first: (*first).clone(),
                second: (*second).clone(),
            };
        Self {
            f1: [first, second].map(|evaluation| evaluation.scores.micro.f1),
            difference,
            p,
            draws: DRAWS,
            differing: differing.len(),
            shown: differing.iter().take(shown).map(difference_of).collect(),
        }
    }
}
