//! Drafted pieces of a target.

use hyperloader_core::text::target::{Tag, TargetGrammar};

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
    /// The tag of the word before for which it was chosen.
    pub(super) previous: Tag,
    /// Where its first id stands in the target.
    pub(super) start: usize,
}

impl Draft {
    /// Adds the tag of `word`, all of its ids.
    pub(super) fn tag(&mut self, grammar: &TargetGrammar, base: usize, word: usize, tag: Tag, previous: Tag) {
        self.slots.push(Slot { word, tag, previous, start: base + self.ids.len() });
        self.ids.extend(grammar.ids(tag));
    }
}
