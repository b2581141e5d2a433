//! The targets of a batch while they grow.

use super::draft::{ASTRAY, Draft, Drafter, Hints, Sentence, Slot, extended, repeated};
use super::limits::Limits;
use crate::text::scores::IdScore;

/// After as many passes in a row that accept no drafted id, a row's drafts are abandoned.
const PATIENCE: u32 = 3;

/// What a pass chooses for a row.
#[derive(Debug, Default)]
pub struct Choices {
    /// An id for each of [`Row::undecided`], perhaps without the last ones.
    pub ids: Vec<u32>,
    /// The score of each id; empty unless they are computed.
    pub scores: Vec<IdScore>,
    /// Index of the first id that a number decided or scored that is not finite.
    pub faulty: Option<usize>,
}

impl Choices {
    /// Adds a choice, and its score if scores are computed.
    pub fn push(&mut self, id: u32, score: Option<IdScore>) {
        self.ids.push(id);
        self.scores.extend(score);
    }
}

/// A target whose ids are all certain, and what it cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The ids after the start token, up to and with `</s>` or as many as the longest target has.
    pub ids: Vec<u32>,
    /// The score of each id; empty unless they are computed.
    pub scores: Vec<IdScore>,
    /// Whether a number that decided or scored an id was not finite.
    pub is_faulty: bool,
    /// Passes of the decoder that the target took part in.
    pub passes: usize,
    /// Passes that found a drafted id wrong.
    pub mistakes: usize,
    /// Whether drafts were abandoned because they failed too often.
    pub fell_back: bool,
}

/// A target: certain ids, then drafted ids.
#[derive(Debug)]
pub struct Row {
    /// Index of its source in the batch.
    pub index: usize,
    sentence: Sentence,
    target: Vec<u32>,
    /// Number of certain ids.
    accepted: usize,
    /// The score of each certain id; empty unless they are computed.
    scores: Vec<IdScore>,
    /// Whether a number that decided or scored a certain id was not finite.
    is_faulty: bool,
    /// Drafted tags.
    slots: Vec<Slot>,
    /// Passes in a row that accepted no drafted id.
    failures: u32,
    ended: bool,
    /// Passes of the decoder that it took part in.
    passes: usize,
    /// Passes that found a drafted id wrong.
    mistakes: usize,
}

impl Row {
    /// A target without ids for the source at `index` of the batch.
    pub fn new(index: usize, sentence: Sentence, limits: Limits) -> Self {
        Self {
            index,
            sentence,
            target: vec![],
            accepted: 0,
            scores: vec![],
            is_faulty: false,
            slots: vec![],
            failures: 0,
            ended: limits.max_target_len == 0,
            passes: 0,
            mistakes: 0,
        }
    }

    /// Whether all ids are certain.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether drafts were abandoned.
    fn fell_back(&self) -> bool {
        self.failures >= PATIENCE
    }

    /// Number of words of the source.
    pub fn words(&self) -> usize {
        self.sentence.words
    }

    /// The target and its cost.
    pub fn into_decoded(self) -> Decoded {
        Decoded {
            fell_back: self.fell_back(),
            ids: self.target,
            scores: self.scores,
            is_faulty: self.is_faulty,
            passes: self.passes,
            mistakes: self.mistakes,
        }
    }

    /// Number of passes so far that found a drafted id wrong.
    pub fn mistakes(&self) -> usize {
        self.mistakes
    }

    /// The target so far, drafted ids included.
    pub fn target(&self) -> &[u32] {
        &self.target
    }

    /// Number of certain ids.
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// The positions that the next pass decides: those of drafted ids and, unless the draft ends the target, the next one;
    /// all up to the horizon.
    pub fn undecided(&self, limits: Limits) -> std::ops::Range<usize> {
        let ends = self.target.len() > self.accepted && self.target.last() == Some(&limits.eos);
        let end = self.target.len() + usize::from(!ends);
        let horizon = self.accepted.saturating_add(limits.horizon);
        self.accepted..end.min(limits.max_target_len).min(horizon)
    }

    /// Drafts the rest after the certain ids. If drafts have failed too often, the draft only repeats the target's own ids: a
    /// model that does not end its target usually repeats itself.
    pub fn draft(&mut self, drafter: Drafter<'_>, hints: &Hints, limits: Limits) {
        self.slots.clear();
        if self.ended {
            return;
        }
        if self.fell_back() {
            let length = limits.max_target_len.min(self.accepted + ASTRAY);
            self.target = extended(std::mem::take(&mut self.target), length, repeated);
            return;
        }
        self.propose(drafter.draft(&self.sentence, &self.target, hints), limits);
    }

    /// Takes `draft` as the rest after the certain ids.
    pub fn propose(&mut self, draft: Draft, limits: Limits) {
        self.target.truncate(self.accepted);
        // The tokenizer may have ids that the model has no rows for.
        self.target.extend(draft.ids.iter().take_while(|id| (**id as usize) < limits.vocab_size));
        self.target.truncate(limits.max_target_len);
        self.slots = draft.slots;
    }

    /// Takes the decoder's choices at [`Row::undecided`]: the drafted ids up to the first that the decoder does not choose, and
    /// the choice there, with their scores. If there is a drafter, it then drafts the rest anew; a draft beyond the horizon
    /// stays. A faulty choice ends the target, unless it comes after a wrong drafted id and is not taken.
    pub fn take(&mut self, choices: &Choices, drafter: Option<Drafter<'_>>, limits: Limits) {
        let Choices { ids: choices, scores, faulty } = choices;
        let from = self.accepted;
        let drafted = &self.target[from..];
        let agreed = choices.iter().zip(drafted).take_while(|(choice, id)| choice == id).count();
        let taken = choices.len().min(agreed + 1);
        if faulty.is_some_and(|at| at < taken) {
            (self.is_faulty, self.ended) = (true, true);
            return;
        }
        let mistaken = agreed < drafted.len().min(choices.len());
        let hints = drafter
            .filter(|_| mistaken)
            .map(|drafter| drafter.hints(&self.sentence, &self.target, &self.slots, from, choices));
        if !drafted.is_empty() && !self.fell_back() {
            self.failures = if agreed > 0 { 0 } else { self.failures + 1 };
        }
        self.mistakes += usize::from(mistaken);
        self.passes += 1;
        if let Some(choice) = choices.get(agreed) {
            self.target.truncate(from + agreed);
            self.target.push(*choice);
        }
        self.accepted = from + taken;
        // These ids keep the scores of this pass, which settles them.
        self.scores.extend(scores.iter().take(taken));
        // Without a choice there is no next position.
        self.ended = choices.is_empty()
            || self.target[self.accepted - 1] == limits.eos
            || self.accepted >= limits.max_target_len;
        if self.ended {
            self.target.truncate(self.accepted);
        } else if let Some(drafter) = drafter.filter(|_| self.target.len() == self.accepted) {
            self.draft(drafter, &hints.unwrap_or_default(), limits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { eos: 1, max_target_len: 6, vocab_size: 99, horizon: usize::MAX };

    /// Choices whose log-probabilities are minus the ids.
    fn choices(ids: &[u32]) -> Choices {
        let score = |id: &u32| IdScore { log_probability: -(*id as f32), margin: 0.0 };
        Choices { ids: ids.to_vec(), scores: ids.iter().map(score).collect(), faulty: None }
    }

    #[test]
    fn a_row_continues_at_the_horizon() {
        let limits = Limits { horizon: 2, ..LIMITS };
        let mut row = Row::new(0, Sentence::default(), limits);
        row.target.extend([9, 8, 7, 1]);
        assert_eq!(row.undecided(limits), 0..2);
        row.take(&choices(&[9, 8]), None, limits);
        assert_eq!((row.target(), row.accepted(), row.mistakes), (&[9, 8, 7, 1][..], 2, 0));
        assert_eq!(row.undecided(limits), 2..4);
        row.take(&choices(&[6, 1]), None, limits);
        assert_eq!((row.target(), row.accepted(), row.mistakes), (&[9, 8, 6][..], 3, 1));
        assert!(!row.ended());
    }

    #[test]
    fn a_row_takes_agreed_ids_and_the_first_other_id_and_ends_at_the_end_or_the_limit() {
        let mut row = Row::new(0, Sentence::default(), LIMITS);
        assert_eq!(row.undecided(LIMITS), 0..1);
        row.take(&choices(&[9]), None, LIMITS);
        row.target.extend([8, 7, 1]);
        assert_eq!(row.undecided(LIMITS), 1..4);
        row.take(&choices(&[8, 6, 5]), None, LIMITS);
        assert_eq!((row.target(), row.ended()), (&[9, 8, 6][..], false));
        row.target.extend([5, 5, 5]);
        assert_eq!(row.undecided(LIMITS), 3..6);
        row.take(&choices(&[5, 1, 5]), None, LIMITS);
        assert_eq!((row.target(), row.ended(), row.passes), (&[9, 8, 6, 5, 1][..], true, 3));
        let output = row.into_decoded();
        assert!(output.scores.iter().map(|score| -score.log_probability as u32).eq(output.ids), "one each");
        let mut endless = Row::new(0, Sentence::default(), LIMITS);
        for _ in 0..6 {
            assert!(!endless.ended());
            endless.take(&choices(&[4]), None, LIMITS);
        }
        assert!(endless.ended());
    }

    #[test]
    fn a_faulty_choice_ends_a_row() {
        let mut row = Row::new(0, Sentence::default(), LIMITS);
        row.take(&Choices { faulty: Some(0), ..choices(&[9]) }, None, LIMITS);
        assert!(row.ended() && row.into_decoded().is_faulty);
    }

    #[test]
    fn a_fault_after_a_wrong_draft_decides_nothing() {
        // The drafts 9 and 8 are right and 7 is wrong: the choices 9, 8 and 6 are taken, those after them are not.
        let taken = |at: usize| {
            let mut row = Row::new(0, Sentence::default(), LIMITS);
            row.target.extend([9, 8, 7, 5, 1]);
            row.take(&Choices { faulty: Some(at), ..choices(&[9, 8, 6, 5, 1]) }, None, LIMITS);
            (row.ended(), row.is_faulty, row.accepted())
        };
        assert_eq!([0, 1, 2].map(taken), [(true, true, 0); 3]);
        assert_eq!([3, 4].map(taken), [(false, false, 3); 2]);
    }
}
