//! A task's label inventory, and the ids of its tags inside a SentT' target.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::sentt::{SentT, SentTError};
use crate::text::spans::Bio;
use crate::text::words::is_whitespace;

/// A label that no task can have.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A label without characters.
    #[error("{origin}: a label is empty")]
    Empty {
        /// Where the label came from.
        origin: String,
    },
    /// A label that SentT' would cut in two.
    #[error("{origin}: label `{label}` holds white space")]
    WhiteSpace {
        /// Where the label came from.
        origin: String,
        /// The label.
        label: String,
    },
    /// A label that means something else in sBIO.
    #[error("{origin}: label `{label}` is a tag of its own in sBIO\nhint: rename the label in the corpus")]
    Reserved {
        /// Where the label came from.
        origin: String,
        /// The label.
        label: String,
    },
    /// A label that occurs twice.
    #[error("{origin}: label `{label}` occurs twice")]
    Duplicate {
        /// Where the label came from.
        origin: String,
        /// The label.
        label: String,
    },
    /// A tag that is no BIO tag.
    #[error("{origin}: tag `{tag}` is not `O`, `B-label` or `I-label`")]
    NotBio {
        /// Where the tag came from.
        origin: String,
        /// The tag.
        tag: String,
    },
    /// A tag that a model cannot write.
    #[error(
        "label `{label}` has no ids of its own in this vocabulary ({ids:?})\nhint: rename the label in the corpus"
    )]
    Unwritable {
        /// The label.
        label: String,
        /// Its ids: none, or a special one among them.
        ids: Vec<u32>,
    },
    /// Two tags that a model writes alike.
    #[error(
        "labels `{first}` and `{second}` have the same ids {ids:?}\nhint: rename one of them in the corpus"
    )]
    SameIds {
        /// The first label.
        first: String,
        /// The second label.
        second: String,
        /// The ids of both.
        ids: Vec<u32>,
    },
    /// The tokenizer failed.
    #[error(transparent)]
    SentT(#[from] SentTError),
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
    /// As [`LabelSet::new`], and if a tag is no BIO tag.
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

    /// The index of a BIO tag in [`bio_tags`]; `None` if it is none or its label is not in the inventory.
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
    match label {
        "" => Err(LabelError::Empty { origin: origin() }),
        "O" | "I" => Err(LabelError::Reserved { origin: origin(), label: label.to_owned() }),
        _ if label.chars().any(is_whitespace) => {
            Err(LabelError::WhiteSpace { origin: origin(), label: label.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The ids of each sBIO tag of a task (`O`, `I`, every label), as they stand between two sentinels of a target.
#[derive(Debug, Clone)]
pub struct LabelTrie {
    tags: Vec<(String, Arc<[u32]>)>,
    /// Every prefix of every tag's ids.
    nodes: HashMap<Vec<u32>, Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    next: Vec<u32>,
    tag: Option<usize>,
}

impl LabelTrie {
    /// The trie of `O`, `I` and `labels`.
    ///
    /// # Errors
    /// If a label has no ids or special ones (it would break the target), or two tags have the same ids.
    pub fn new(labels: &LabelSet, codec: &SentT) -> Result<Self, LabelError> {
        let mut trie = Self { tags: Vec::new(), nodes: HashMap::from([(Vec::new(), Node::default())]) };
        for tag in ["O", "I"].into_iter().chain(labels.iter()) {
            let ids = codec.word(&tag)?;
            let special =
                |id: &u32| [codec.pad(), codec.eos()].contains(id) || codec.sentinel_index(*id).is_some();
            if ids.is_empty() || ids.iter().any(special) {
                return Err(LabelError::Unwritable { label: tag.to_owned(), ids: ids.to_vec() });
            }
            trie.insert(tag, ids)?;
        }
        Ok(trie)
    }

    fn insert(&mut self, tag: &str, ids: Arc<[u32]>) -> Result<(), LabelError> {
        for (length, id) in ids.iter().enumerate() {
            let next = &mut self.nodes.entry(ids[..length].to_vec()).or_default().next;
            if let Err(place) = next.binary_search(id) {
                next.insert(place, *id);
            }
        }
        let end = self.nodes.entry(ids.to_vec()).or_default();
        if let Some(other) = end.tag.replace(self.tags.len()) {
            return Err(LabelError::SameIds {
                first: self.tags[other].0.clone(),
                second: tag.to_owned(),
                ids: ids.to_vec(),
            });
        }
        self.tags.push((tag.to_owned(), ids));
        Ok(())
    }

    /// The ids that may follow `prefix` inside a tag, ascending; none if `prefix` begins no tag or only ends one. After a complete
    /// tag ([`LabelTrie::tag`]) the next sentinel may follow too.
    pub fn next(&self, prefix: &[u32]) -> &[u32] {
        self.nodes.get(prefix).map_or(&[], |node| &node.next)
    }

    /// The tag that `ids` spell completely, if any. Longer tags may begin with the same ids.
    pub fn tag(&self, ids: &[u32]) -> Option<&str> {
        let index = self.nodes.get(ids)?.tag?;
        Some(&self.tags[index].0)
    }

    /// The tags `O`, `I`, then the labels in their order, each with its ids.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = (&str, &[u32])> {
        self.tags.iter().map(|(tag, ids)| (tag.as_str(), &**ids))
    }

    /// The ids of one tag.
    pub fn ids(&self, tag: &str) -> Option<&[u32]> {
        self.tags().find(|(name, _)| *name == tag).map(|(_, ids)| ids)
    }

    /// All ids that occur in tags, ascending and unique: with the sentinels and `</s>` all that a legal target needs.
    pub fn vocabulary(&self) -> Vec<u32> {
        let ids: BTreeSet<u32> = self.nodes.values().flat_map(|node| node.next.iter().copied()).collect();
        ids.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> SentT {
        SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap()
    }

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
    fn the_trie_walks_every_tag_and_knows_tags_that_are_prefixes() {
        let codec = codec();
        let set = LabelSet::new(["city", "city_name", "toloc.city_name"], "test").unwrap();
        let trie = LabelTrie::new(&set, &codec).unwrap();
        for (tag, ids) in trie.tags() {
            assert_eq!(trie.tag(ids), Some(tag));
            assert!((0..ids.len()).all(|length| trie.next(&ids[..length]).contains(&ids[length])));
        }
        let city = trie.ids("city").unwrap();
        assert!(trie.ids("city_name").unwrap().starts_with(city) && !trie.next(city).is_empty());
        assert_eq!(trie.tag(&[]), None);
        assert!(trie.next(&[7, 7]).is_empty());
        let target = codec.encode_target(&["O", "city_name", "I"]).unwrap();
        let inside = target.iter().filter(|id| codec.sentinel_index(**id).is_none() && **id != codec.eos());
        assert!(inside.into_iter().all(|id| trie.vocabulary().contains(id)));
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

    #[test]
    fn labels_that_a_model_cannot_write_are_refused() {
        let codec = codec();
        for (label, part) in [("\u{200b}", "([])"), ("a</s>", "([3, 9, 1])"), ("<extra_id_3>", "([32096])")] {
            let set = LabelSet::new([label], "test").unwrap();
            let error = LabelTrie::new(&set, &codec).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let set = LabelSet::new(["Full", "\u{ff26}ull"], "test").unwrap();
        let error = LabelTrie::new(&set, &codec).unwrap_err().to_string();
        assert!(error.starts_with("labels `Full` and `\u{ff26}ull` have the same ids ["), "{error}");
    }
}
