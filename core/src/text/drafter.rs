//! The drafter of a task: a linear tag classifier that predicts a whole target before the decoder runs.
//!
//! It reads the encoder's final states at a word, at its sentinel and at the neighbouring words, and adds a score for each
//! pair of successive tags. The decoder verifies each draft, so a wrong draft costs time and never changes a tag (cf.
//! input-guided aggressive decoding, Ge et al. 2022, arXiv 2205.10350).

use ndarray::Ix2;
use serde::{Deserialize, Serialize};

use crate::text::target::{Tag, tag_count};
use crate::weights::tensors::{HostTensor, Tensors};

/// Number of source tokens whose scores are summed for a word.
pub const ROLES: usize = 4;

/// The most tags of a task that a drafter is fitted for. Its table of transitions has a number for each pair of tags.
pub const MAX_TAGS: usize = 2048;

/// The positions of the source tokens that the tag of `word` is predicted from: the word's sentinel, its first token, and
/// the first tokens of the words before and after it. Each role has its own weights. `sentinels` are the positions of the
/// source's sentinels.
pub fn read_from(sentinels: &[usize], word: usize) -> [Option<usize>; ROLES] {
    let first_token = |word: usize| sentinels.get(word + 1).map(|_| sentinels[word] + 1);
    let before = word.checked_sub(1).and_then(first_token);
    [sentinels.get(word).copied(), first_token(word), before, first_token(word + 1)]
}

/// Names of a task's drafter tensors in a run's file of drafters.
pub mod names {
    /// `[roles * tags, d_model]`: a tag's score at a token in a role (see [`super::read_from`]) is a row times the
    /// encoder's state there.
    pub fn weight(task: &str) -> String {
        format!("{task}.drafter.weight")
    }

    /// `[roles * tags]`: added to the scores.
    pub fn bias(task: &str) -> String {
        format!("{task}.drafter.bias")
    }

    /// `[tags, tags]`: the row of the previous tag is added to the scores.
    pub fn transitions(task: &str) -> String {
        format!("{task}.drafter.transitions")
    }
}

/// A task's drafter, as stored in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Drafter {
    /// `[roles * tags, d_model]`.
    pub weight: HostTensor,
    /// `[roles * tags]`.
    pub bias: HostTensor,
    /// What the previous tag adds to the scores.
    pub transitions: Transitions,
}

/// A drafter does not fit its task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrafterError {
    /// A tensor is missing or misshapen.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// Its shape; empty if it is missing.
        found: Vec<usize>,
        /// The shape that fits the task's labels and the backbone.
        expected: Vec<usize>,
    },
    /// The transitions are unusable.
    #[error(transparent)]
    Transitions(#[from] TransitionsError),
}

impl Drafter {
    /// The drafter of `task`, which has `labels` labels, from a run's tensors; `None` if they hold none.
    ///
    /// # Errors
    /// If a tensor does not fit.
    pub fn from_tensors(
        tensors: &Tensors,
        task: &str,
        labels: usize,
        d_model: usize,
    ) -> Result<Option<Self>, DrafterError> {
        if !tensors.contains_key(&names::weight(task)) {
            return Ok(None);
        }
        let tags = tag_count(labels);
        let tensor = |name: String, expected: &[usize]| {
            let found = tensors.get(&name).filter(|tensor| tensor.shape() == expected);
            found.cloned().ok_or_else(|| DrafterError::Tensor {
                found: tensors.get(&name).map_or(vec![], |tensor| tensor.shape().to_vec()),
                expected: expected.to_vec(),
                name,
            })
        };
        let table = tensor(names::transitions(task), &[tags, tags])?;
        let rows = table
            .into_dimensionality::<Ix2>()
            .map(|table| table.outer_iter().map(|row| row.to_vec()).collect());
        Ok(Some(Self {
            weight: tensor(names::weight(task), &[ROLES * tags, d_model])?,
            bias: tensor(names::bias(task), &[ROLES * tags])?,
            transitions: Transitions::try_from(rows.unwrap_or_else(|_| vec![]))?,
        }))
    }
}

/// A table of transitions is not square, or holds numbers that are not finite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the drafter's transitions have {rows} rows, row {row} has {columns} finite numbers")]
pub struct TransitionsError {
    rows: usize,
    row: usize,
    columns: usize,
}

/// What the previous tag adds to the score of each tag: `[tags, tags]`, one row for each previous tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f32>>", into = "Vec<Vec<f32>>")]
pub struct Transitions(Vec<Vec<f32>>);

impl TryFrom<Vec<Vec<f32>>> for Transitions {
    type Error = TransitionsError;

    fn try_from(table: Vec<Vec<f32>>) -> Result<Self, TransitionsError> {
        let rows = table.len();
        for (row, numbers) in table.iter().enumerate() {
            let columns = numbers.iter().filter(|number| number.is_finite()).count();
            if columns != rows || numbers.len() != rows {
                return Err(TransitionsError { rows, row, columns });
            }
        }
        Ok(Self(table))
    }
}

impl From<Transitions> for Vec<Vec<f32>> {
    fn from(transitions: Transitions) -> Self {
        transitions.0
    }
}

impl Transitions {
    /// Number of tags.
    pub fn tags(&self) -> usize {
        self.0.len()
    }

    /// The candidate with the highest score after the tag `previous`, the first of equals. `scores` are the classifier's
    /// for one word, `[tags]`. `None` without candidates.
    pub fn best(
        &self,
        scores: &[f32],
        previous: Tag,
        candidates: impl IntoIterator<Item = Tag>,
    ) -> Option<Tag> {
        let row = self.0.get(previous)?;
        let scored = candidates.into_iter().filter_map(|tag| Some((tag, scores.get(tag)? + row.get(tag)?)));
        let best = scored.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(tag, _)| tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::target::{INSIDE, OUTSIDE};

    fn transitions() -> Transitions {
        Transitions::try_from(vec![vec![0.0, -9.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 2.0, 0.0]]).unwrap()
    }

    #[test]
    fn a_word_is_read_with_its_sentinel_and_its_neighbours() {
        let sentinels = [0, 3, 5];
        assert_eq!(read_from(&sentinels, 0), [Some(0), Some(1), None, Some(4)]);
        assert_eq!(read_from(&sentinels, 1), [Some(3), Some(4), Some(1), None]);
        assert_eq!(read_from(&[], 0), [None; 4]);
    }

    #[test]
    fn the_tag_before_counts_and_the_first_of_equals_wins() {
        let t = transitions();
        let best = |previous| t.best(&[0.5, 1.0, 0.5], previous, 0..t.tags());
        assert_eq!((best(OUTSIDE), best(INSIDE), best(2)), (Some(0), Some(1), Some(1)));
        assert_eq!(t.best(&[0.5, 1.0, 0.5], 2, [2, 0]), Some(2));
        assert_eq!(t.best(&[0.5, 1.0, 0.5], 2, []), None);
    }

    #[test]
    fn a_table_that_is_no_square_of_numbers_is_refused() {
        for table in [vec![vec![0.0], vec![0.0, 1.0]], vec![vec![f32::NAN]], vec![vec![0.0, 1.0]]] {
            assert!(Transitions::try_from(table).is_err());
        }
        let text = serde_json::to_string(&transitions()).unwrap();
        assert_eq!(serde_json::from_str::<Transitions>(&text).unwrap(), transitions());
    }
}
