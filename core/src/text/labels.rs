//! A task's label inventory, and the BIO tags of its labels.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::text::spans::Bio;
use crate::text::words::is_whitespace;

/// The longest label in bytes. Those of the known corpora have at most 50; time and memory grow with the length.
pub const MAX_LABEL: usize = 1000;

/// The beginning of a label that is too long; `None` if it is not.
pub(crate) fn too_long(label: &str) -> Option<String> {
    (label.len() > MAX_LABEL).then(|| label.chars().take(40).collect())
}

/// A label or tag cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum LabelError {
    /// A label without characters.
    #[error("{origin}: a label is empty")]
    Empty {
        /// The file or task that the label came from.
        origin: String,
    },
    /// A label with white space, which SentT' would split in two.
    #[error("{origin}: label `{label}` holds white space")]
    WhiteSpace {
        /// The file or task that the label came from.
        origin: String,
        label: String,
    },
    /// A label that no program would write.
    #[error("{origin}: label `{label}...` has {bytes} bytes, at most {MAX_LABEL} are allowed")]
    Long {
        /// The file or task that the label came from.
        origin: String,
        /// The beginning of the label.
        label: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A label that means something else in sBIO.
    #[error("{origin}: label `{label}` is a tag of its own in sBIO\nhint: rename the label in the corpus")]
    Reserved {
        /// The file or task that the label came from.
        origin: String,
        label: String,
    },
    /// A label that occurs twice.
    #[error("{origin}: label `{label}` occurs twice")]
    Duplicate {
        /// The file or task that the label came from.
        origin: String,
        label: String,
    },
    /// A tag that is not a BIO tag.
    #[error("{origin}: tag `{tag}` is not `O`, `B-label` or `I-label`")]
    NotBio {
        /// The file or task that the tag came from.
        origin: String,
        tag: String,
    },
}

/// The labels of a task: ordered, unique, non-empty, without white space. Serialised as a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelSet {
    labels: Vec<String>,
    indices: HashMap<String, usize>,
}

impl LabelSet {
    /// The inventory of `labels` in the given order; `origin` (a file, a task) is named in errors.
    ///
    /// # Errors
    /// If a label is empty, holds white space, is `O` or `I`, or occurs twice.
    pub fn new<L: Into<String>>(
        labels: impl IntoIterator<Item = L>,
        origin: &str,
    ) -> Result<Self, LabelError> {
        let mut set = Self::default();
        for label in labels {
            let label = label.into();
            check(&label, origin)?;
            if set.indices.insert(label.clone(), set.labels.len()).is_some() {
                return Err(LabelError::Duplicate { origin: origin.to_owned(), label });
            }
            set.labels.push(label);
        }
        Ok(set)
    }

    /// The inventory of BIO tags, sorted by label so that it does not depend on the order of sentences.
    ///
    /// # Errors
    /// As [`LabelSet::new`], and if a tag is not a BIO tag.
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = &'a str>, origin: &str) -> Result<Self, LabelError> {
        let mut labels = BTreeSet::new();
        for tag in tags {
            match (Bio::parse(tag), tag) {
                (Some(bio), _) => labels.extend(bio.label()),
                (None, "B-" | "I-") => {
                    return Err(LabelError::Empty { origin: origin.to_owned() });
                }
                (None, _) => {
                    return Err(LabelError::NotBio { origin: origin.to_owned(), tag: tag.to_owned() });
                }
            }
        }
        Self::new(labels, origin)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.labels.iter().map(String::as_str)
    }

    /// The label at `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.labels.get(index).map(String::as_str)
    }

    /// The index of a BIO tag in [`bio_tags`]; `None` if it is not a BIO tag or its label is not in the inventory.
    pub fn bio_index(&self, tag: &str) -> Option<usize> {
        Some(match Bio::parse(tag)? {
            Bio::Outside => 0,
            Bio::Begin(label) => 1 + 2 * self.index(label)?,
            Bio::Inside(label) => 2 + 2 * self.index(label)?,
        })
    }

    /// The index of `label`.
    pub fn index(&self, label: &str) -> Option<usize> {
        self.indices.get(label).copied()
    }
}

/// The BIO tags of `labels`, in the order in which a token classifier gives their logits: `O`, then `B-` and `I-` of each label.
pub fn bio_tags<L: AsRef<str>>(labels: &[L]) -> Vec<String> {
    let pairs =
        labels.iter().map(AsRef::as_ref).flat_map(|label| [format!("B-{label}"), format!("I-{label}")]);
    std::iter::once("O".to_owned()).chain(pairs).collect()
}

impl TryFrom<Vec<String>> for LabelSet {
    type Error = LabelError;

    fn try_from(labels: Vec<String>) -> Result<Self, LabelError> {
        Self::new(labels, "label list")
    }
}

impl From<LabelSet> for Vec<String> {
    fn from(set: LabelSet) -> Self {
        set.labels
    }
}

fn check(label: &str, origin: &str) -> Result<(), LabelError> {
    let origin = || origin.to_owned();
    if let Some(beginning) = too_long(label) {
        return Err(LabelError::Long { origin: origin(), label: beginning, bytes: label.len() });
    }
    match label {
        "" => Err(LabelError::Empty { origin: origin() }),
        "O" | "I" => Err(LabelError::Reserved { origin: origin(), label: label.to_owned() }),
        _ if label.chars().any(is_whitespace) => {
            Err(LabelError::WhiteSpace { origin: origin(), label: label.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_labels_are_refused_with_their_origin() {
        for (labels, message) in [
            (vec![""], "snips: a label is empty"),
            (vec!["a b"], "snips: label `a b` holds white space"),
            (vec!["a\u{1c}"], "snips: label `a\u{1c}` holds white space"),
            (vec!["x", "x"], "snips: label `x` occurs twice"),
            (vec!["O"], "snips: label `O` is a tag of its own in sBIO\nhint: rename the label in the corpus"),
        ] {
            assert_eq!(LabelSet::new(labels, "snips").unwrap_err().to_string(), message);
        }
        let long = LabelSet::new(["x".repeat(1001)], "snips").unwrap_err().to_string();
        let beginning = "x".repeat(40);
        assert_eq!(long, format!("snips: label `{beginning}...` has 1001 bytes, at most 1000 are allowed"));
        assert!(LabelSet::new(["x".repeat(1000)], "snips").is_ok());
        let error = LabelSet::from_tags(["O", "B-"], "snips").unwrap_err();
        assert_eq!(error.to_string(), "snips: a label is empty");
        let error = LabelSet::from_tags(["O", "x"], "snips").unwrap_err();
        assert_eq!(error.to_string(), "snips: tag `x` is not `O`, `B-label` or `I-label`");
    }

    #[test]
    fn the_inventory_is_sorted_found_by_name_and_survives_json() {
        let set = LabelSet::from_tags(["O", "B-b", "I-b", "I-a", "B-c"], "test").unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((set.index("c"), set.index("d"), set.get(0)), (Some(2), None, Some("a")));
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["a","b","c"]"#);
        assert_eq!(serde_json::from_str::<LabelSet>(&json).unwrap(), set);
        assert!(serde_json::from_str::<LabelSet>(r#"["a",""]"#).is_err());
    }

    #[test]
    fn bio_tags_and_their_indices_agree() {
        let labels = ["b", "a-b"];
        let set = LabelSet::new(labels, "test").unwrap();
        let tags = bio_tags(&labels);
        assert_eq!(tags, ["O", "B-b", "I-b", "B-a-b", "I-a-b"]);
        for (index, tag) in tags.iter().enumerate() {
            assert_eq!(set.bio_index(tag), Some(index));
        }
        assert_eq!((set.bio_index("B-c"), set.bio_index("b")), (None, None));
    }
}
