//! What a well-formed target allows at each position.

use std::collections::HashMap;

use hyperloader_core::text::labels::{LabelError, LabelSet, LabelTrie};
use hyperloader_core::text::sentt::SentT;

use super::Limits;
use super::rows::Row;
use super::target::{Grammar, Place};

/// The ids of all well-formed targets of a task.
#[derive(Debug)]
pub(super) struct LegalIds {
    trie: LabelTrie,
    vocabulary: Vec<u32>,
    /// Place of each id in the vocabulary.
    columns: HashMap<u32, usize>,
}

impl LegalIds {
    /// # Errors
    /// If two tags have the same ids, or one has ids that stand for something else.
    pub(super) fn new(labels: &LabelSet, codec: &SentT) -> Result<Self, LabelError> {
        let trie = LabelTrie::new(labels, codec)?;
        let sentinels = (0..=codec.max_words()).filter_map(|k| codec.sentinel(k));
        let mut vocabulary: Vec<u32> = trie.vocabulary().into_iter().chain(sentinels).collect();
        // The lower id of equals is chosen, as by an argmax over the whole vocabulary.
        vocabulary.sort_unstable();
        let columns = vocabulary.iter().enumerate().map(|(column, id)| (*id, column)).collect();
        Ok(Self { trie, vocabulary, columns })
    }

    /// Ids that a choice is made from: those of tags and sentinels, ascending.
    pub(super) fn vocabulary(&self) -> &[u32] {
        &self.vocabulary
    }

    /// The undecided positions of `row` at which its target allows more than one id.
    pub(super) fn open_positions(&self, row: &Row, grammar: &Grammar, limits: Limits) -> Vec<usize> {
        let open = |position: &usize| self.after(&row.target()[..*position], row.words(), grammar).len() > 1;
        row.undecided(limits).filter(open).collect()
    }

    /// The choice at each undecided position of `row`: the only legal id, or the one with the highest of its `logits`,
    /// `[positions, vocabulary]` for those of `open`.
    pub(super) fn choices(
        &self,
        row: &Row,
        grammar: &Grammar,
        limits: Limits,
        open: &[usize],
        logits: &[f32],
    ) -> Vec<u32> {
        let mut logits = logits.chunks(self.vocabulary.len());
        let mut open = open.iter().peekable();
        let choice = |position: usize| {
            let legal = self.after(&row.target()[..position], row.words(), grammar);
            match open.next_if_eq(&&position) {
                None => legal.first().copied(),
                Some(_) => {
                    let logits = logits.next()?;
                    let logit = |id: &u32| self.columns.get(id).map_or(f32::NEG_INFINITY, |&c| logits[c]);
                    legal.into_iter().reduce(|best, id| if logit(&id) > logit(&best) { id } else { best })
                }
            }
        };
        row.undecided(limits).map_while(choice).collect()
    }

    /// The ids that may follow a well-formed beginning of a target, ascending.
    fn after(&self, target: &[u32], words: usize, grammar: &Grammar) -> Vec<u32> {
        let Place { opened, partial } = grammar.place(target);
        match opened.checked_sub(1) {
            None => grammar.sentinel(0).into_iter().collect(),
            Some(word) if word >= words => vec![grammar.eos],
            Some(_) => {
                let ended = self.trie.tag(partial).and_then(|_| grammar.sentinel(opened));
                let mut legal: Vec<u32> = self.trie.next(partial).iter().copied().chain(ended).collect();
                legal.sort_unstable();
                legal
            }
        }
    }
}
