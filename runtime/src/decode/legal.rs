//! The ids that a well-formed target allows at each position.

use std::collections::HashMap;

use hyperloader_core::decode::limits::Limits;
use hyperloader_core::decode::rows::Row;
use hyperloader_core::text::target::TargetGrammar;

/// The ids of all well-formed targets of a task.
#[derive(Debug)]
pub(super) struct LegalIds {
    vocabulary: Vec<u32>,
    /// Index of each id in the vocabulary.
    columns: HashMap<u32, usize>,
}

/// A choice among the legal ids of a position.
#[derive(Debug)]
pub(super) struct LegalChoice {
    pub(super) id: u32,
    /// Its logit; 0 if it is the only legal id.
    pub(super) logit: f32,
    /// The logits of the other legal ids.
    pub(super) others: Vec<f32>,
}

impl LegalIds {
    pub(super) fn new(grammar: &TargetGrammar) -> Self {
        Self::below(grammar, usize::MAX)
    }

    /// Those ids that a vocabulary of this size has.
    pub(super) fn below(grammar: &TargetGrammar, vocab_size: usize) -> Self {
        // Ascending: the lower id of equals is chosen, as by an argmax over the whole vocabulary.
        let mut vocabulary = grammar.vocabulary();
        vocabulary.retain(|id| (*id as usize) < vocab_size);
        let columns = vocabulary.iter().enumerate().map(|(column, id)| (*id, column)).collect();
        Self { vocabulary, columns }
    }

    /// The logit of `id` among `logits`, one for each id of the vocabulary.
    pub(super) fn logit(&self, logits: &[f32], id: u32) -> Option<f32> {
        logits.get(*self.columns.get(&id)?).copied()
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
    ) -> Vec<LegalChoice> {
        let mut logits = logits.chunks(self.vocabulary.len());
        let mut open = open.iter().peekable();
        let choice = |position: usize| {
            let legal = grammar.next(&row.target()[..position], row.words());
            match open.next_if_eq(&&position) {
                None => legal.first().map(|&id| LegalChoice { id, logit: 0.0, others: vec![] }),
                Some(_) => self.best(logits.next()?, &legal),
            }
        };
        row.undecided(limits).map_while(choice).collect()
    }

    /// The id of `legal` with the highest of `logits`.
    fn best(&self, logits: &[f32], legal: &[u32]) -> Option<LegalChoice> {
        let logit = |id: &u32| self.logit(logits, *id).unwrap_or(f32::NEG_INFINITY);
        let id = *legal.iter().reduce(|best, id| if logit(id) > logit(best) { id } else { best })?;
        let others = legal.iter().filter(|other| **other != id).map(logit).collect();
        Some(LegalChoice { id, logit: logit(&id), others })
    }
}
