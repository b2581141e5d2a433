//! The target grammar of SentT': the only definition of which ids a task's targets consist of.
//!
//! A target is `s0 t0 s1 t1 ... sL </s>` (HyperLoader paper, section 3.6): sentinel `sk` comes before the tag of word `k`,
//! and one more sentinel closes the sentence. Tags are numbered: [`OUTSIDE`], [`INSIDE`], then the task's labels in their
//! order. A tag may have several ids, and one tag's ids may begin another's.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::sentinels::Sentinels;
use crate::text::sentt::{SentT, SentTError};

/// The index of a tag: 0 is `O`, 1 is `I`, label `n` of the task is `n + 2`.
pub type Tag = usize;

/// The tag `O`.
pub const OUTSIDE: Tag = 0;
/// The tag `I`, which continues the span of the word before.
pub const INSIDE: Tag = 1;

/// Number of tags of a task with `labels` labels.
pub fn tag_count(labels: usize) -> usize {
    labels + 2
}

/// A label that a model cannot write or cannot tell apart from another.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum TargetError {
    /// A label without ids, or with a special id that would break the target.
    #[error(
        "label `{label}` has no ids of its own in this vocabulary ({ids:?})\nhint: rename the label in the corpus"
    )]
    Unwritable {
        label: String,
        /// Its ids: none, or a special id among them.
        ids: Vec<u32>,
    },
    /// Two labels that a model writes alike.
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
}

/// How written tags are assigned to words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alignment {
    /// The first tag to the first word and so on, as the reference implementation scores: one missing or surplus tag
    /// shifts all later ones.
    #[default]
    Order,
    /// By the sentinel before the tag: a missing or surplus tag shifts no other.
    Sentinel,
}

/// What a model wrote for a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// A tag of the task.
    Tag(Tag),
    /// Text that is no tag of the task. It has no white space.
    Unknown(String),
}

/// A position in a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Number of words whose sentinel is written. The tag of the last of them is being written.
    pub opened: usize,
    /// The ids after that sentinel.
    pub partial: &'a [u32],
}

/// The ids of a task's targets.
#[derive(Debug, Clone)]
pub struct TargetGrammar {
    sentinels: Arc<Sentinels>,
    pad: u32,
    eos: u32,
    /// Text of each tag.
    names: Vec<String>,
    /// Ids of each tag.
    ids: Vec<Arc<[u32]>>,
    /// Every prefix of every tag's ids, the empty one included.
    prefixes: BTreeMap<Vec<u32>, Prefix>,
    /// Sets of tags: each tag alone, then the tags of each non-empty prefix, then all tags.
    sets: Vec<Vec<Tag>>,
}

/// What the beginning of a tag says about the tag.
#[derive(Debug, Clone, Default)]
struct Prefix {
    /// Ids that may follow, ascending.
    next: Vec<u32>,
    /// The tag that ends here.
    complete: Option<Tag>,
    /// Index of the set of tags that begin so.
    set: usize,
}

impl TargetGrammar {
    /// The grammar of a task with these labels in the vocabulary of `codec`. Labels that the vocabulary cannot write or
    /// tell apart are accepted; [`TargetGrammar::check`] refuses them.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn new<L: AsRef<str>>(
        codec: &SentT,
        labels: impl IntoIterator<Item = L>,
    ) -> Result<Self, SentTError> {
        let labels = labels.into_iter().map(|label| label.as_ref().to_owned());
        let names: Vec<String> = ["O".to_owned(), "I".to_owned()].into_iter().chain(labels).collect();
        let ids = names.iter().map(|name| codec.word(name)).collect::<Result<_, _>>()?;
        Ok(Self::of_ids(Arc::clone(codec.sentinels()), [codec.pad(), codec.eos()], names, ids))
    }

    fn of_ids(
        sentinels: Arc<Sentinels>,
        [pad, eos]: [u32; 2],
        names: Vec<String>,
        ids: Vec<Arc<[u32]>>,
    ) -> Self {
        let mut prefixes = BTreeMap::from([(Vec::new(), Prefix::default())]);
        let mut tags_from = BTreeMap::<&[u32], Vec<Tag>>::new();
        for (tag, ids) in ids.iter().enumerate() {
            for (length, id) in ids.iter().enumerate() {
                let next = &mut prefixes.entry(ids[..length].to_vec()).or_default().next;
                if let Err(place) = next.binary_search(id) {
                    next.insert(place, *id);
                }
                tags_from.entry(&ids[..=length]).or_default().push(tag);
            }
            if !ids.is_empty() {
                // Of tags with the same ids the first counts.
                prefixes.entry(ids.to_vec()).or_default().complete.get_or_insert(tag);
            }
        }
        let mut sets: Vec<Vec<Tag>> = (0..ids.len()).map(|tag| vec![tag]).collect();
        for (prefix, tags) in tags_from {
            prefixes.entry(prefix.to_vec()).or_default().set = sets.len();
            sets.push(tags);
        }
        prefixes.entry(Vec::new()).or_default().set = sets.len();
        sets.push((0..ids.len()).collect());
        Self { sentinels, pad, eos, names, ids, prefixes, sets }
    }

    /// Checks that the vocabulary can write each tag and tell it from all others.
    ///
    /// # Errors
    /// Names the first label without ids or with special ones (they would break the target), or the first two labels
    /// with the same ids.
    pub fn check(&self) -> Result<(), TargetError> {
        let special = |id: &u32| [self.pad, self.eos].contains(id) || self.sentinels.index(*id).is_some();
        for (tag, ids) in self.ids.iter().enumerate() {
            let name = |tag: Tag| self.names[tag].clone();
            if ids.is_empty() || ids.iter().any(special) {
                return Err(TargetError::Unwritable { label: name(tag), ids: ids.to_vec() });
            }
            if let Some(first) = self.tag(ids).filter(|first| *first != tag) {
                return Err(TargetError::SameIds {
                    first: name(first),
                    second: name(tag),
                    ids: ids.to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Number of tags, `O` and `I` included.
    pub fn tags(&self) -> usize {
        self.names.len()
    }

    /// The text of a tag: `O`, `I` or the label.
    ///
    /// # Panics
    /// If `tag` is not less than [`TargetGrammar::tags`].
    pub fn name(&self, tag: Tag) -> &str {
        &self.names[tag]
    }

    /// The tag with this text, if the task has it.
    pub fn tag_named(&self, name: &str) -> Option<Tag> {
        self.names.iter().position(|known| known == name)
    }

    /// The ids of a tag, as they stand between two sentinels.
    ///
    /// # Panics
    /// If `tag` is not less than [`TargetGrammar::tags`].
    pub fn ids(&self, tag: Tag) -> &[u32] {
        &self.ids[tag]
    }

    /// The tag that `ids` spell completely, if any. Longer tags may begin with the same ids.
    pub fn tag(&self, ids: &[u32]) -> Option<Tag> {
        self.prefixes.get(ids)?.complete
    }

    /// The ids that may follow `partial` inside a tag, ascending; none if `partial` begins no tag or no tag goes on. After
    /// a complete tag the next sentinel may follow too.
    pub fn next_of_tag(&self, partial: &[u32]) -> &[u32] {
        self.prefixes.get(partial).map_or(&[], |prefix| &prefix.next)
    }

    /// The tags whose ids begin with `partial`, ascending.
    pub fn tags_from(&self, partial: &[u32]) -> &[Tag] {
        self.prefixes.get(partial).map_or(&[], |prefix| &self.sets[prefix.set])
    }

    /// Whether `tag` may follow the tag `previous` in a sentence: `I` needs a span to continue.
    pub fn may_follow(&self, tag: Tag, previous: Tag) -> bool {
        tag != INSIDE || previous != OUTSIDE
    }

    /// Sets of tags that a decoder's choices can leave open (see [`TargetGrammar::chosen_set`]): each tag alone, tags that
    /// begin alike, and last all tags.
    pub fn sets(&self) -> &[Vec<Tag>] {
        &self.sets
    }

    /// The index of the set of tags that the decoder may be writing for a word. `fed` is the tag in its input; `chosen`
    /// holds its choices at each id of that tag and after it, `ids(fed).len() + 1` ids. Choices after the first that
    /// differs from `fed` say nothing: they were made on another input. The set is that of all tags if the choice begins
    /// none.
    pub fn chosen_set(&self, fed: Tag, chosen: &[u32]) -> usize {
        let agreed = chosen.iter().zip(self.ids(fed)).take_while(|(a, b)| a == b).count();
        let (begun, complete) = (&chosen[..chosen.len().min(agreed + 1)], &chosen[..agreed]);
        // The first differing choice is an id of another tag, or ends this tag or a shorter one.
        match self.prefixes.get(begun) {
            Some(prefix) => prefix.set,
            None => self.tag(complete).unwrap_or(self.sets.len() - 1),
        }
    }

    /// The sentinels of the vocabulary.
    pub fn sentinels(&self) -> &Sentinels {
        &self.sentinels
    }

    /// The id of the sentinel before word `word`, or after the last word.
    pub fn sentinel(&self, word: usize) -> Option<u32> {
        self.sentinels.id(word)
    }

    /// The id of `</s>`, which ends a target.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// All ids that occur in tags and all sentinels, ascending: with `</s>`, all that a well-formed target needs.
    pub fn vocabulary(&self) -> Vec<u32> {
        let of_tags = self.prefixes.values().flat_map(|prefix| prefix.next.iter().copied());
        let ids: BTreeSet<u32> = of_tags.chain(self.sentinels.ids().iter().copied()).collect();
        ids.into_iter().collect()
    }

    /// The target `s0 t0 s1 t1 ... sL </s>` of a sentence with these tags. Sentinels that the vocabulary lacks are left
    /// out.
    pub fn encode(&self, tags: &[Tag]) -> Vec<u32> {
        let mut target = Vec::with_capacity(3 * tags.len() + 2);
        for (word, tag) in tags.iter().enumerate() {
            target.extend(self.sentinel(word));
            target.extend_from_slice(self.ids(*tag));
        }
        target.extend(self.sentinel(tags.len()));
        target.push(self.eos);
        target
    }

    /// The position at the end of `target`. The last sentinel decides, whatever comes before it.
    pub fn place<'a>(&self, target: &'a [u32]) -> Place<'a> {
        let sentinel = |(at, id): (usize, &u32)| Some((at, self.sentinels.index(*id)?));
        match target.iter().enumerate().rev().find_map(sentinel) {
            Some((at, word)) => Place { opened: word + 1, partial: &target[at + 1..] },
            None => Place { opened: 0, partial: target },
        }
    }

    /// Whether `target` may become well-formed for `words` words: its sentinels count up from 0, and nothing follows the
    /// sentinel after the last word.
    pub fn in_order(&self, target: &[u32], words: usize) -> bool {
        let sentinels = target.iter().filter_map(|id| self.sentinels.index(*id));
        let count = sentinels.clone().count();
        let closed = target.last().is_some_and(|id| self.sentinels.index(*id) == Some(words));
        sentinels.eq(0..count) && (count <= words || closed)
    }

    /// The ids that may follow `target`, a beginning of a well-formed target for `words` words, ascending.
    pub fn next(&self, target: &[u32], words: usize) -> Vec<u32> {
        let Place { opened, partial } = self.place(target);
        match opened.checked_sub(1) {
            None => self.sentinel(0).into_iter().collect(),
            Some(word) if word >= words => vec![self.eos],
            Some(_) => {
                let ended = self.tag(partial).and_then(|_| self.sentinel(opened));
                let mut next: Vec<u32> = self.next_of_tag(partial).iter().copied().chain(ended).collect();
                next.sort_unstable();
                next
            }
        }
    }

    /// The id that follows `target` if each word has the tag of the word before; `None` before the first tag.
    pub fn next_repeated(&self, target: &[u32]) -> Option<u32> {
        let Place { opened, partial } = self.place(target);
        let before = target[..target.len() - partial.len()].split_last()?.1;
        match self.place(before).partial.strip_prefix(partial) {
            Some([id, ..]) => Some(*id),
            _ => self.sentinel(opened),
        }
    }

    /// What a target says about each of `words` words. Too few tags are filled up with `O`, too many are cut. A tag whose
    /// ids stand alone between sentinels is found by its ids; anything else is decoded to text, split at white space and
    /// found by name.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode(
        &self,
        codec: &SentT,
        target: &[u32],
        words: usize,
        alignment: Alignment,
    ) -> Result<Vec<Written>, SentTError> {
        let mut written = match alignment {
            Alignment::Order => self.decode_in_order(codec, target)?,
            Alignment::Sentinel => self.decode_by_sentinel(codec, target, words)?,
        };
        written.resize(words, Written::Tag(OUTSIDE));
        Ok(written)
    }

    /// The text of what was written: the tag's name, or the text as it is.
    pub fn text<'a>(&'a self, written: &'a Written) -> &'a str {
        match written {
            Written::Tag(tag) => self.name(*tag),
            Written::Unknown(text) => text,
        }
    }

    /// [`TargetGrammar::decode`] as sBIO tags, one for each of `words` words.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode_sbio(
        &self,
        codec: &SentT,
        target: &[u32],
        words: usize,
        alignment: Alignment,
    ) -> Result<Vec<String>, SentTError> {
        let written = self.decode(codec, target, words, alignment)?;
        Ok(written.iter().map(|written| self.text(written).to_owned()).collect())
    }

    fn named(&self, text: String) -> Written {
        self.tag_named(&text).map_or(Written::Unknown(text), Written::Tag)
    }

    fn decode_in_order(&self, codec: &SentT, target: &[u32]) -> Result<Vec<Written>, SentTError> {
        let special = |id: &u32| [self.pad, self.eos].contains(id) || self.sentinels.index(*id).is_some();
        let gaps = target.split(special).filter(|gap| !gap.is_empty());
        match gaps.map(|gap| self.tag(gap).map(Written::Tag)).collect::<Option<Vec<_>>>() {
            Some(written) => Ok(written),
            // Words may be split by white space or joined across sentinels: only the text tells.
            None => Ok(codec.decode_words(target)?.into_iter().map(|text| self.named(text)).collect()),
        }
    }

    /// What stands between the first `<extra_id_k>` and the next sentinel or `</s>`, for each word `k`; `O` if that is
    /// nothing. Of several words in one gap the first counts.
    fn decode_by_sentinel(
        &self,
        codec: &SentT,
        target: &[u32],
        words: usize,
    ) -> Result<Vec<Written>, SentTError> {
        let mut written: Vec<Option<Written>> = vec![None; words];
        let target = target.split(|id| *id == self.eos).next().unwrap_or_default();
        for (at, id) in target.iter().enumerate() {
            let Some(slot @ None) = self.sentinels.index(*id).and_then(|k| written.get_mut(k)) else {
                continue;
            };
            let gap = target[at + 1..].split(|id| self.sentinels.index(*id).is_some()).next();
            let gap = gap.unwrap_or_default();
            *slot = Some(match self.tag(gap) {
                Some(tag) => Written::Tag(tag),
                None => {
                    let first = codec.decode_words(gap)?.into_iter().next();
                    first.map_or(Written::Tag(OUTSIDE), |text| self.named(text))
                }
            });
        }
        Ok(written.into_iter().map(|written| written.unwrap_or(Written::Tag(OUTSIDE))).collect())
    }
}

#[cfg(test)]
mod tests;
