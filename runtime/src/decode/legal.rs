//! The ids that a well-formed target allows at each position.

use std::collections::HashMap;

use hyperloader_core::text::target::{TargetError, TargetGrammar};

use super::limits::Limits;
use super::rows::Row;

/// The ids of all well-formed targets of a task.
#[derive(Debug)]
pub(super) struct LegalIds {
    vocabulary: Vec<u32>,
    /// Index of each id in the vocabulary.
    columns: HashMap<u32, usize>,
}

impl LegalIds {
    /// # Errors
    /// If two tags have the same ids, or one has ids that stand for something else.
    pub(super) fn new(grammar: &TargetGrammar) -> Result<Self, TargetError> {
        grammar.check()?;
        // Ascending: the lower id of equals is chosen, as by an argmax over the whole vocabulary.
        let vocabulary = grammar.vocabulary();
        let columns = vocabulary.iter().enumerate().map(|(column, id)| (*id, column)).collect();
        Ok(Self { vocabulary, columns })
    }

    /// Ids that a choice is made from: those of tags and sentinels, ascending.
    pub(super) fn vocabulary(&self) -> &[u32] {
        &self.vocabulary
    }

    /// The undecided positions of `row` at which its target allows more than one id.
    pub(super) fn open_positions(&self, row: &Row, grammar: &TargetGrammar, limits: Limits) -> Vec<usize> {
        let open = |position: &usize| grammar.next(&row.target()[..*position], row.words()).len() > 1;
        row.undecided(limits).filter(open).collect()
    }

    /// The choice at each undecided position of `row`: the only legal id, or the one with the highest of its `logits`,
    /// `[positions, vocabulary]` for those of `open`.
    pub(super) fn choices(
        &self,
        row: &Row,
        grammar: &TargetGrammar,
        limits: Limits,
        open: &[usize],
        logits: &[f32],
    ) -> Vec<u32> {
        let mut logits = logits.chunks(self.vocabulary.len());
        let mut open = open.iter().peekable();
        let choice = |position: usize| {
            let legal = grammar.next(&row.target()[..position], row.words());
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
}
