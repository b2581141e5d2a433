//! The targets of a batch as they grow.

use super::Limits;
use super::draft::{Drafter, Hints, Sentence};
use super::target::Slot;

/// Passes in a row that accept no drafted id before a row goes on step by step.
const PATIENCE: u32 = 3;

/// A target: ids that are certain, then ids that are drafted.
#[derive(Debug)]
pub(super) struct Row {
    /// Which source of the batch it belongs to.
    pub(super) index: usize,
    sentence: Sentence,
    target: Vec<u32>,
    accepted: usize,
    /// Drafted tags.
    slots: Vec<Slot>,
    /// Passes in a row that accepted no drafted id.
    failures: u32,
    ended: bool,
    /// Decoder passes that it took part in.
    pub(super) passes: usize,
}

impl Row {
    pub(super) fn new(index: usize, sentence: Sentence, limits: Limits) -> Self {
        Self {
            index,
            sentence,
            target: vec![],
            accepted: 0,
            slots: vec![],
            failures: 0,
            ended: limits.max_target_len == 0,
            passes: 0,
        }
    }

    /// Whether all of it is certain.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether drafts were given up.
    pub(super) fn fell_back(&self) -> bool {
        self.failures >= PATIENCE
    }

    /// Words of its source.
    pub(super) fn words(&self) -> usize {
        self.sentence.words
    }

    /// Its ids, once it has ended.
    pub(super) fn into_ids(self) -> Vec<u32> {
        self.target
    }

    /// The target so far, drafted ids included.
    pub(super) fn target(&self) -> &[u32] {
        &self.target
    }

    /// The positions of the target that the next pass decides: those drafted, and the next one if there is one.
    pub(super) fn undecided(&self, limits: Limits) -> std::ops::Range<usize> {
        let ends = self.target.len() > self.accepted && self.target.last() == Some(&limits.eos);
        let end = self.target.len() + usize::from(!ends);
        self.accepted..end.min(limits.max_target_len)
    }

    /// Drafts the rest from what is certain, unless drafts have failed too often.
    pub(super) fn draft(&mut self, drafter: Drafter<'_>, hints: &Hints, limits: Limits) {
        self.target.truncate(self.accepted);
        self.slots.clear();
        if self.ended || self.fell_back() {
            return;
        }
        let draft = drafter.draft(&self.sentence, &self.target, hints);
        self.target.extend(draft.ids);
        self.target.truncate(limits.max_target_len);
        self.slots = draft.slots;
    }

    /// Takes the decoder's choices at [`Row::undecided`]: as many drafted ids as it would have chosen itself, and the
    /// first that it chose otherwise. Then drafts the rest, if there is a drafter.
    pub(super) fn take(&mut self, choices: &[u32], drafter: Option<Drafter<'_>>, limits: Limits) {
        let from = self.accepted;
        let drafted = &self.target[from..];
        let agreed = choices.iter().zip(drafted).take_while(|(choice, id)| choice == id).count();
        let hints = drafter.filter(|_| agreed < drafted.len());
        let hints =
            hints.map(|drafter| drafter.hints(&self.sentence, &self.target, &self.slots, from, choices));
        if !drafted.is_empty() {
            self.failures = if agreed > 0 { 0 } else { self.failures + 1 };
        }
        self.target.truncate(from + agreed);
        self.target.extend(choices.get(agreed));
        self.accepted = self.target.len();
        self.passes += 1;
        self.ended = self.target.last() == Some(&limits.eos) || self.accepted >= limits.max_target_len;
        if let Some(drafter) = drafter {
            self.draft(drafter, &hints.unwrap_or_default(), limits);
        }
    }
}
