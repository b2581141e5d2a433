//! What an exported file says of itself, so that any program can check that it is what was exported: digests of all its
//! parts, and inputs with the answers of the reference model. `hl-export` writes it, and `hl-run verify` checks it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::scores::rounded;

/// Name of the property that holds the proof as JSON.
pub const PROOF: &str = "hyperloader.proof";

/// Digests and answers of a file. A digest is a SHA-256 in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Digest of the graph without its weights.
    pub graph: String,
    /// Digests of the weights by name: of element type, shape and elements.
    pub weights: BTreeMap<String, String>,
    /// Digests of the other properties by name.
    pub properties: BTreeMap<String, String>,
    /// Inputs and the answers to them, for each task of the file; absent if the file was exported without verification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<TestVectors>,
    /// What the file's precision costs; absent if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// F1 of a precision on labelled sentences, next to float32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Number of sentences that were tagged.
    pub sentences: usize,
    /// Number of them with other tags than those of the float32 file.
    pub changed: usize,
    /// F1 of the float32 file, from 0 to 1.
    pub f1_f32: f64,
    /// F1 of the file.
    pub f1: f64,
}

impl Cost {
    /// By how much F1 is lower than that of the float32 file.
    pub fn f1_drop(&self) -> f64 {
        self.f1_f32 - self.f1
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sentences, changed, f1_f32, f1 } = self;
        write!(f, "F1 {f1:.4}, {f1_f32:.4} in f32; other tags in {changed} of {sentences} sentences")
    }
}

/// Inputs, and the answers of the reference model, which computes in float64 with the numbers of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestVectors {
    /// The task that the answers are for.
    pub task: String,
    /// Runs of the whole graph.
    pub passes: Vec<TestPass>,
    /// Source ids of sentences.
    pub sources: Vec<Vec<u32>>,
    /// For each source, the first target ids that any correct program chooses; for a token classifier, the index of each
    /// token's tag. They end before the first choice that rounding may change.
    pub targets: Vec<Vec<u32>>,
}

/// A run of the whole graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestPass {
    /// The inputs by name.
    pub inputs: BTreeMap<String, Ids>,
    /// A row for each position of each sentence, sentence by sentence.
    pub rows: Vec<Row>,
}

/// An array of ids, row-major.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Its shape.
    pub shape: Vec<usize>,
    /// The ids.
    pub ids: Vec<i64>,
}

/// What is known of a row of logits. If no logit differs by more than `limit` from the reference, no number but the margin does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The best id, and how far its logit is ahead of the second best.
    #[serde(flatten)]
    pub best: Best,
    /// The best logit.
    pub max: f64,
    /// The mean of the logits.
    pub mean: f64,
    /// The root of the mean square of the logits.
    pub rms: f64,
    /// The tolerated difference of a logit.
    pub limit: f64,
}

impl Row {
    /// Describes `logits`, of which each may differ by `limit`. Numbers are rounded to six decimals, so that repeated exports
    /// write the same bytes.
    pub fn new(logits: impl Iterator<Item = f64> + Clone, limit: f64) -> Self {
        let count = logits.clone().count().max(1) as f64;
        let best = Best::of(logits.clone());
        Self {
            best: Best { margin: rounded(best.margin), ..best },
            max: rounded(logits.clone().fold(f64::NEG_INFINITY, f64::max)),
            mean: rounded(logits.clone().sum::<f64>() / count),
            rms: rounded((logits.map(|x| x * x).sum::<f64>() / count).sqrt()),
            limit: rounded(limit),
        }
    }

    /// The largest difference to `found` as a share of the limit; infinite if a number is not finite, or the best id is
    /// another although it is ahead by more than two logits may differ together.
    pub fn share(&self, found: &Self) -> f64 {
        if self.limit.is_nan() || self.limit < 0.0 {
            return f64::INFINITY;
        }
        if found.best.id != self.best.id && self.best.margin > 2.0 * self.limit {
            return f64::INFINITY;
        }
        let pairs = [(self.max, found.max), (self.mean, found.mean), (self.rms, found.rms)];
        let largest = pairs.into_iter().map(|(expected, found)| (expected - found).abs());
        let largest =
            largest.fold(0.0, |most: f64, d| if d.is_finite() { d.max(most) } else { f64::INFINITY });
        // The numbers are rounded.
        largest / (self.limit + 1e-6)
    }
}

/// The largest value of a row, its id, and how far it is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Index of the largest value; of equal values the first.
    pub id: usize,
    /// Difference between the largest and the second largest value; infinite in a row of one value.
    #[serde(with = "finite")]
    pub margin: f64,
}

impl Best {
    /// The best id of a row of logits.
    pub fn of(row: impl Iterator<Item = f64>) -> Self {
        let (mut id, mut best, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (index, value) in row.enumerate() {
            if value > best {
                (id, best, second) = (index, value, best);
            } else if value > second {
                second = value;
            }
        }
        Self { id, margin: best - second }
    }
}

/// A margin as JSON, which has no infinity: `null`.
mod finite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(margin: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*margin).filter(|margin| margin.is_finite()).serialize(serializer)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_differs_by_no_more_than_its_logits() {
        let logits = [0.5, -2.0, 1.25, 0.0];
        let row = Row::new(logits.into_iter(), 0.01);
        assert_eq!((row.best.id, row.best.margin, row.max), (2, 0.75, 1.25));
        for signs in 0..16_u32 {
            let moved =
                |(at, logit): (usize, &f64)| if signs >> at & 1 == 1 { logit + 0.01 } else { logit - 0.01 };
            let found = Row::new(logits.iter().enumerate().map(moved).collect::<Vec<_>>().into_iter(), 0.0);
            assert!(row.share(&found) <= 1.0, "{found:?}");
        }
        let moved = Row::new(logits.into_iter().map(|logit| logit + 0.02), 0.0);
        assert!(row.share(&moved) > 1.0);
        assert!(row.share(&Row::new([0.5, -2.0, f64::NAN, 0.0].into_iter(), 0.0)) > 1.0);
        let other = Row::new([0.5, 1.25, -2.0, 0.0].into_iter(), 0.0);
        assert_eq!(row.share(&other), f64::INFINITY, "the best id is another");
    }

    #[test]
    fn the_best_id_is_the_first_of_equal_ones() {
        assert_eq!(Best::of([1.0, 3.0, 3.0].into_iter()), Best { id: 1, margin: 0.0 });
        assert_eq!(Best::of([2.0].into_iter()).margin, f64::INFINITY);
    }

    #[test]
    fn a_proof_is_read_as_it_was_written() {
        let row = Row::new([0.1_f64].into_iter(), 1e-4);
        assert_eq!(row.best.margin, f64::INFINITY);
        let ids = Ids { shape: vec![1, 2], ids: vec![3, 1] };
        let pass = TestPass { inputs: [("input_ids".to_owned(), ids)].into(), rows: vec![row] };
        let task = "a".to_owned();
        let vectors =
            TestVectors { task, passes: vec![pass], sources: vec![vec![3, 1]], targets: vec![vec![0]] };
        let proof = Proof { vectors: vec![vectors], ..Proof::default() };
        let text = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
        assert_eq!(
            serde_json::from_str::<Proof>(&serde_json::to_string(&Proof::default()).unwrap()).unwrap(),
            Proof::default()
        );
    }
}
