//! The skeleton of a target, `s0 t0 s1 t1 ... sL </s>`, and where in it a target stands.

use std::collections::HashMap;

use hyperloader_core::text::drafter::{INSIDE, OUTSIDE};
use hyperloader_core::text::sentt::{SentT, SentTError};

/// A tag by its number: `O`, `I`, then the task's labels (see [`hyperloader_core::text::drafter`]).
pub(super) type Tag = usize;

/// The ids that targets of a task are made of.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Ids of `<extra_id_0>`, `<extra_id_1>`, ...
    sentinels: Vec<u32>,
    indices: HashMap<u32, usize>,
    /// Ends a target.
    pub(super) eos: u32,
    /// Ids of each tag.
    tags: Vec<Vec<u32>>,
}

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// Words whose sentinel is there: the tag of the last of them is being written.
    pub(super) opened: usize,
    /// Ids after that sentinel.
    pub(super) partial: &'a [u32],
}

/// A piece of a target that is being drafted: its ids, and where each tag begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) ids: Vec<u32>,
    pub(super) slots: Vec<Slot>,
}

/// A drafted tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The word, from 0.
    pub(super) word: usize,
    /// Its tag.
    pub(super) tag: Tag,
    /// The tag of the word before that it was chosen behind.
    pub(super) previous: Tag,
    /// Where its first id stands in the target.
    pub(super) start: usize,
}

impl Grammar {
    /// The grammar of `labels` in the vocabulary of `codec`.
    pub(super) fn new(codec: &SentT, labels: &[String]) -> Result<Self, SentTError> {
        let sentinels: Vec<u32> = (0..=codec.max_words()).filter_map(|k| codec.sentinel(k)).collect();
        let tags = ["O", "I"].into_iter().chain(labels.iter().map(String::as_str));
        let tags = tags.map(|tag| Ok(codec.word(&tag)?.to_vec())).collect::<Result<_, SentTError>>()?;
        let indices = sentinels.iter().enumerate().map(|(k, id)| (*id, k)).collect();
        Ok(Self { sentinels, indices, eos: codec.eos(), tags })
    }

    /// Number of tags.
    pub(super) fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Where `<extra_id_0>`, `<extra_id_1>`, ... stand in a source: one more than it has words.
    pub(super) fn sentinels_of(&self, source: &[u32]) -> Vec<usize> {
        let mut places = Vec::new();
        for (at, id) in source.iter().enumerate() {
            if self.sentinel(places.len()) == Some(*id) {
                places.push(at);
            }
        }
        places
    }

    /// Where `target` stands: its last sentinel says so, whatever came before.
    pub(super) fn place<'a>(&self, target: &'a [u32]) -> Place<'a> {
        let last = target.iter().rposition(|id| self.indices.contains_key(id));
        match last {
            Some(at) => Place { opened: self.indices[&target[at]] + 1, partial: &target[at + 1..] },
            None => Place { opened: 0, partial: target },
        }
    }

    /// Whether `target` may become well-formed for as many words: its sentinels count from 0, and nothing is behind the one
    /// after the last word.
    pub(super) fn in_order(&self, target: &[u32], words: usize) -> bool {
        let sentinels = target.iter().filter_map(|id| self.indices.get(id).copied());
        let count = sentinels.clone().count();
        let closed = target.last().is_some_and(|id| self.indices.get(id) == Some(&words));
        sentinels.eq(0..count) && (count <= words || closed)
    }

    /// What comes next where each word has the tag of the one before.
    pub(super) fn next(&self, target: &[u32]) -> Option<u32> {
        let Place { opened, partial } = self.place(target);
        let before = target[..target.len() - partial.len()].split_last()?.1;
        match self.place(before).partial.strip_prefix(partial) {
            Some([id, ..]) => Some(*id),
            _ => self.sentinel(opened),
        }
    }

    /// The sentinel before word `word`, or after the last one.
    pub(super) fn sentinel(&self, word: usize) -> Option<u32> {
        self.sentinels.get(word).copied()
    }

    /// The ids of a tag.
    pub(super) fn ids(&self, tag: Tag) -> &[u32] {
        &self.tags[tag]
    }

    /// The tags whose ids begin with `partial`.
    pub(super) fn tags_from<'a>(&'a self, partial: &'a [u32]) -> impl Iterator<Item = Tag> + Clone + 'a {
        (0..self.tags.len()).filter(move |tag| self.tags[*tag].starts_with(partial))
    }

    /// A tag that may follow `previous` in a sentence: `I` needs something to go on with.
    pub(super) fn may_follow(&self, tag: Tag, previous: Tag) -> bool {
        tag != INSIDE || previous != OUTSIDE
    }
}

impl Draft {
    /// Adds the tag of `word`, all of its ids.
    pub(super) fn tag(&mut self, grammar: &Grammar, base: usize, word: usize, tag: Tag, previous: Tag) {
        self.slots.push(Slot { word, tag, previous, start: base + self.ids.len() });
        self.ids.extend(grammar.ids(tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> SentT {
        SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap()
    }

    #[test]
    fn the_last_sentinel_tells_where_a_target_stands() {
        let codec = codec();
        let labels = ["city".to_owned(), "city_name".to_owned()];
        let grammar = Grammar::new(&codec, &labels).unwrap();
        let target = codec.encode_target(&["O", "city_name"]).unwrap();
        let place = |length: usize| grammar.place(&target[..length]);
        assert_eq!(place(0), Place { opened: 0, partial: &[] });
        assert_eq!(place(1), Place { opened: 1, partial: &[] });
        let o = grammar.ids(OUTSIDE).len();
        assert_eq!(place(1 + o).partial, grammar.ids(OUTSIDE));
        let (city, name) = (grammar.ids(2).len(), grammar.ids(3).len());
        let partial = grammar.place(&target[..2 + o + city]).partial;
        assert_eq!(grammar.tags_from(partial).collect::<Vec<_>>(), [2, 3]);
        let partial = grammar.place(&target[..2 + o + name]).partial;
        assert_eq!(grammar.tags_from(partial).collect::<Vec<_>>(), [3]);
        assert_eq!(place(target.len() - 1), Place { opened: 3, partial: &[] });
    }

    #[test]
    fn a_target_is_in_order_as_long_as_it_can_become_well_formed() {
        let codec = codec();
        let grammar = Grammar::new(&codec, &["city_name".to_owned()]).unwrap();
        let target = codec.encode_target(&["O", "city_name"]).unwrap();
        let body = &target[..target.len() - 1];
        for length in 0..=body.len() {
            assert!(grammar.in_order(&body[..length], 2));
        }
        assert!(!grammar.in_order(body, 1), "one more word");
        assert!(!grammar.in_order(&[body, grammar.ids(OUTSIDE)].concat(), 2), "a tag of no word");
        assert!(!grammar.in_order(&[body, &body[..1]].concat(), 9), "from the beginning");
        assert_eq!(grammar.next(&[]), None);
        let counted = |length: usize| grammar.next(&[body, &grammar.ids(2)[..length]].concat());
        for (length, id) in grammar.ids(2).iter().enumerate() {
            assert_eq!(counted(length), Some(*id), "the tag of the word before");
        }
        assert_eq!(counted(grammar.ids(2).len()), grammar.sentinel(3));
    }

    #[test]
    fn the_sentinels_of_a_source_are_one_more_than_its_words() {
        let codec = codec();
        let grammar = Grammar::new(&codec, &[]).unwrap();
        for words in [vec!["a"], vec!["wake", "me", "up"]] {
            let source = codec.encode_source(&words).unwrap();
            let sentinels = grammar.sentinels_of(&source);
            let indices = sentinels.iter().map(|&at| codec.sentinel_index(source[at]));
            assert!(indices.eq((0..=words.len()).map(Some)));
        }
    }
}
