//! Drafts: the probable rest of a target.

use std::collections::HashMap;

use crate::text::drafter::Transitions;
use crate::text::target::{OUTSIDE, Place, Tag, TargetGrammar};

/// What is known about a sentence before the decoder has run.
#[derive(Debug, Clone, Default)]
pub struct Sentence {
    /// Number of words.
    pub words: usize,
    /// The drafter's scores, `[words, tags]`; empty without a drafter.
    pub scores: Vec<f32>,
}

/// The tag that the decoder chose for a word, on an input that was wrong somewhere before the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    tag: Tag,
    /// The tag of the word before in that input.
    previous: Tag,
}

/// The decoder's choices after a wrong drafted id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Tags by word.
    tags: HashMap<usize, Hint>,
    /// All ids.
    ids: Vec<u32>,
}

/// The drafted rest of a target: its ids, and the tags in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The ids after those of the target so far.
    pub ids: Vec<u32>,
    /// The tags in them.
    pub slots: Vec<Slot>,
}

/// A drafted tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Index of the word, from 0.
    pub word: usize,
    /// The tag of the word.
    pub tag: Tag,
    /// The tag of the word before for which it was chosen.
    pub previous: Tag,
    /// Position of its first id in the whole target.
    pub start: usize,
}

impl Draft {
    /// The draft of a whole target, `target`, that is known from elsewhere, such as that of the corpus.
    pub fn of_target(grammar: &TargetGrammar, target: &[u32]) -> Self {
        let sentinels = grammar.sentinels().positions(target.iter().copied());
        let mut previous = OUTSIDE;
        let slot = |(word, gap): (usize, &[usize])| {
            let tag = grammar.tag(&target[gap[0] + 1..gap[1]]);
            let slot = tag.map(|tag| Slot { word, tag, previous, start: gap[0] + 1 });
            previous = tag.unwrap_or(OUTSIDE);
            slot
        };
        let slots = sentinels.windows(2).enumerate().filter_map(slot).collect();
        Self { ids: target.to_vec(), slots }
    }

    /// Adds the tag of `word`, all of its ids.
    pub fn tag(&mut self, grammar: &TargetGrammar, base: usize, word: usize, tag: Tag, previous: Tag) {
        self.slots.push(Slot { word, tag, previous, start: base + self.ids.len() });
        self.ids.extend(grammar.ids(tag));
    }
}

/// Ids that are drafted at once after a target that is not well-formed.
pub const ASTRAY: usize = 16;

/// Drafts targets.
#[derive(Debug, Clone, Copy)]
pub struct Drafter<'a> {
    /// The grammar of the task.
    pub grammar: &'a TargetGrammar,
    /// Scores of successive tags, if the file's drafter is used.
    pub transitions: Option<&'a Transitions>,
    /// Whether the decoder's choices after a wrong drafted id are used.
    pub redraft: bool,
}

impl Drafter<'_> {
    /// The most likely rest of `target`, to the end. Slots hold positions in the whole target.
    pub fn draft(&self, sentence: &Sentence, target: &[u32], hints: &Hints) -> Draft {
        let grammar = self.grammar;
        if !grammar.in_order(target, sentence.words) {
            return Draft { ids: self.astray(target, &hints.ids), slots: vec![] };
        }
        let Place { opened, partial } = grammar.place(target);
        let mut draft = Draft::default();
        let mut previous = OUTSIDE;
        match opened.checked_sub(1) {
            Some(word) if word >= sentence.words => {
                draft.ids.push(grammar.eos());
                return draft;
            }
            Some(word) => {
                let before = self.tag_before(target, partial);
                if let Some(tag) = self.tag(sentence, word, before, partial, hints) {
                    draft.slots.push(Slot {
                        word,
                        tag,
                        previous: before,
                        start: target.len() - partial.len(),
                    });
                    draft.ids.extend(&grammar.ids(tag)[partial.len()..]);
                    previous = tag;
                }
            }
            None => {}
        }
        for word in opened..sentence.words {
            draft.ids.extend(grammar.sentinel(word));
            let tag = self.tag(sentence, word, previous, &[], hints).unwrap_or(OUTSIDE);
            draft.tag(grammar, target.len(), word, tag, previous);
            previous = tag;
        }
        draft.ids.extend(grammar.sentinel(sentence.words));
        draft.ids.push(grammar.eos());
        draft
    }

    /// The rest of a target whose sentinels are out of order. It begins with the decoder's `choices`, which depend then more on
    /// the position than on the ids before it. It continues as the target did after the same two ids or, if they are
    /// new, with the next word.
    fn astray(&self, target: &[u32], choices: &[u32]) -> Vec<u32> {
        // Choices after `</s>` mean nothing.
        let choices = choices.split(|id| *id == self.grammar.eos()).next().unwrap_or_default();
        let next = |ids: &[u32]| repeated(ids).or_else(|| self.grammar.next_repeated(ids));
        extended([target, choices].concat(), target.len() + ASTRAY, next).split_off(target.len())
    }

    /// What the decoder's choices at the positions of `target` from `from` on say about the words after the first choice that
    /// differs from the target.
    pub fn hints(
        &self,
        sentence: &Sentence,
        target: &[u32],
        slots: &[Slot],
        from: usize,
        choices: &[u32],
    ) -> Hints {
        if !self.redraft {
            return Hints::default();
        }
        let agreed = choices.iter().zip(&target[from..]).take_while(|(a, b)| a == b).count();
        let ids = choices.get(agreed + 1..).unwrap_or_default().to_vec();
        let hint = |slot: &Slot| {
            let chosen = choices.get(slot.start.checked_sub(from)?..)?;
            let drafted = target.get(slot.start..)?;
            let length = self.grammar.ids(slot.tag).len();
            let agreed = chosen.iter().zip(drafted).take(length + 1).take_while(|(a, b)| a == b).count();
            let tag = match agreed > length {
                true => slot.tag,
                // The first differing choice is an id of another tag, or ends a shorter tag.
                false => {
                    let mut partial = drafted[..agreed].to_vec();
                    partial.push(*chosen.get(agreed)?);
                    self.likeliest(sentence, slot.word, slot.previous, &partial)
                        .or_else(|| self.grammar.tag(&drafted[..agreed]))?
                }
            };
            Some((slot.word, Hint { tag, previous: slot.previous }))
        };
        Hints { tags: slots.iter().filter_map(hint).collect(), ids }
    }

    /// The likeliest tag of `word` after the tag `previous` whose ids begin with `partial`; `None` if no tag's do.
    fn tag(
        &self,
        sentence: &Sentence,
        word: usize,
        previous: Tag,
        partial: &[u32],
        hints: &Hints,
    ) -> Option<Tag> {
        // The decoder's choice after the same tag is more reliable than the drafter's scores.
        let fits = |hint: &&Hint| {
            (hint.previous == previous || sentence.scores.is_empty())
                && self.grammar.ids(hint.tag).starts_with(partial)
        };
        match hints.tags.get(&word).filter(fits) {
            Some(hint) => Some(hint.tag),
            None => self.likeliest(sentence, word, previous, partial),
        }
    }

    /// The drafter's tag of `word` after the tag `previous`, among those whose ids begin with `partial`; without a drafter, the
    /// first of these.
    fn likeliest(&self, sentence: &Sentence, word: usize, previous: Tag, partial: &[u32]) -> Option<Tag> {
        let grammar = self.grammar;
        let tags = grammar.tags_from(partial).iter().copied();
        let tags = tags.filter(|tag| grammar.may_follow(*tag, previous));
        let scores = sentence.scores.chunks(grammar.tags()).nth(word);
        match (self.transitions, scores) {
            (Some(transitions), Some(scores)) => transitions.best(scores, previous, tags),
            _ => tags.clone().next(),
        }
    }

    /// The tag before the last sentinel of `target`, which `partial` follows.
    fn tag_before(&self, target: &[u32], partial: &[u32]) -> Tag {
        let before = &target[..target.len() - partial.len() - 1];
        let gap = self.grammar.place(before).partial;
        self.grammar.tag(gap).unwrap_or(OUTSIDE)
    }
}

/// `ids`, extended by what is `next` up to `length` ids.
pub fn extended(mut ids: Vec<u32>, length: usize, next: impl Fn(&[u32]) -> Option<u32>) -> Vec<u32> {
    while ids.len() < length {
        let Some(id) = next(&ids) else { break };
        ids.push(id);
    }
    ids
}

/// The id that followed the last two ids when they occurred before.
pub fn repeated(ids: &[u32]) -> Option<u32> {
    let (before, end) = ids.split_last_chunk::<2>()?;
    let at = ids[..before.len() + 1].windows(2).rposition(|pair| pair == end)?;
    ids.get(at + 2).copied()
}

#[cfg(test)]
mod tests {
    use crate::text::sentt::SentT;
    use crate::text::target::INSIDE;

    use super::*;

    const CITY: Tag = 2;
    const CITY_NAME: Tag = 3;
    const TIME: Tag = 4;

    fn codec() -> SentT {
        SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap()
    }

    fn grammar() -> TargetGrammar {
        TargetGrammar::new(&codec(), ["city", "city_name", "time"]).unwrap()
    }

    fn ids(tags: &[&str]) -> Vec<u32> {
        codec().encode_target(tags).unwrap()
    }

    fn no_transitions() -> Transitions {
        vec![vec![0.0; 5]; 5].try_into().unwrap()
    }

    /// The scores of one word: the best is `tag`, the next is `second`.
    fn scores(tag: Tag, second: Tag) -> Vec<f32> {
        (0..5)
            .map(|t| {
                if t == tag {
                    2.0
                } else if t == second {
                    1.0
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn without_a_drafter_a_draft_is_all_outside_and_continues_the_target() {
        let grammar = grammar();
        let drafter = Drafter { grammar: &grammar, transitions: None, redraft: true };
        let sentence = Sentence { words: 3, scores: vec![] };
        let whole = ids(&["O", "O", "O"]);
        let draft =
            |target: &[u32]| [target, &drafter.draft(&sentence, target, &Hints::default()).ids].concat();
        for length in 0..whole.len() {
            assert_eq!(draft(&whole[..length]), whole);
        }
        // Ids that begin no tag stay.
        let odd = [&ids(&["O"])[..2 + usize::from(grammar.ids(OUTSIDE).len() > 1)], &[777]].concat();
        assert!(draft(&odd).starts_with(&odd));
        assert_eq!(draft(&odd).last(), Some(&grammar.eos()));
    }

    #[test]
    fn a_target_out_of_order_continues_with_the_decoders_choices_and_then_repeats_itself() {
        let grammar = grammar();
        let drafter = Drafter { grammar: &grammar, transitions: None, redraft: true };
        let sentence = Sentence { words: 3, scores: vec![] };
        let o = grammar.ids(OUTSIDE);
        let with = |words: &[usize]| -> Vec<u32> {
            words.iter().flat_map(|word| [&[grammar.sentinel(*word).unwrap()], o].concat()).collect()
        };
        let draft = |target: &[u32], choices: &[u32]| {
            let hints = Hints { ids: choices.to_vec(), ..Hints::default() };
            drafter.draft(&sentence, target, &hints).ids
        };
        let around = draft(&with(&[0, 1, 1, 1]), &[]);
        assert!(around.starts_with(&with(&[1, 1, 1])) && around.len() == ASTRAY);
        let choices = [&with(&[2, 0])[..], &[grammar.eos()], &with(&[7])].concat();
        assert!(draft(&with(&[0, 1, 1]), &choices).starts_with(&with(&[2, 0, 1, 2])));
        // More words than the sentence has.
        assert!(draft(&with(&[0, 1, 2, 3]), &[]).starts_with(&with(&[4, 5, 6])));
        assert_eq!(draft(&with(&[0, 1, 2, 3])[..3 * (1 + o.len()) + 1], &[]), [grammar.eos()]);
    }

    #[test]
    fn the_draft_of_a_known_target_has_its_tags() {
        let grammar = grammar();
        let target = ids(&["O", "time", "I", "O"]);
        let draft = Draft::of_target(&grammar, &target);
        let tags: Vec<(usize, Tag, Tag)> = draft.slots.iter().map(|s| (s.word, s.tag, s.previous)).collect();
        assert_eq!(
            tags,
            [(0, OUTSIDE, OUTSIDE), (1, TIME, OUTSIDE), (2, INSIDE, TIME), (3, OUTSIDE, INSIDE)]
        );
        for slot in &draft.slots {
            assert!(target[slot.start..].starts_with(grammar.ids(slot.tag)));
        }
        assert_eq!(draft.ids, target);
        // A target may be cut anywhere, here before its last sentinel, and hold ids that are no tag.
        for length in 0..target.len() - 1 {
            assert!(Draft::of_target(&grammar, &target[..length]).slots.len() < 4);
        }
        let odd = [grammar.sentinel(0).unwrap(), 777, grammar.sentinel(1).unwrap()];
        assert!(Draft::of_target(&grammar, &odd).slots.is_empty());
    }

    #[test]
    fn repeated_ids_are_repeated_again() {
        let round = |ids: &[u32]| extended(ids.to_vec(), ids.len() + 5, repeated).split_off(ids.len());
        assert_eq!(round(&[7, 8, 9, 7, 8]), [9, 7, 8, 9, 7]);
        assert_eq!(round(&[5, 5, 5]), [5; 5]);
        assert!(round(&[7, 8, 9]).is_empty() && round(&[7]).is_empty());
    }

    #[test]
    fn the_drafter_completes_a_tag_that_the_decoder_has_begun() {
        let grammar = grammar();
        let transitions = no_transitions();
        let drafter = Drafter { grammar: &grammar, transitions: Some(&transitions), redraft: true };
        let table = [scores(TIME, CITY_NAME), scores(INSIDE, OUTSIDE), scores(OUTSIDE, CITY)].concat();
        let sentence = Sentence { words: 3, scores: table };
        let draft =
            |target: &[u32]| [target, &drafter.draft(&sentence, target, &Hints::default()).ids].concat();
        assert_eq!(draft(&[]), ids(&["time", "I", "O"]));
        let begun = [&[grammar.sentinel(0).unwrap()], &grammar.ids(CITY)[..1]].concat();
        assert_eq!(draft(&begun), ids(&["city_name", "I", "O"]));
        // No tag continues `O`.
        let outside = &ids(&["O"])[..1 + grammar.ids(OUTSIDE).len()];
        assert_eq!(draft(outside), ids(&["O", "O", "O"]));
    }

    #[test]
    fn choices_after_the_same_tag_overrule_the_drafter_and_others_do_not() {
        let grammar = grammar();
        let transitions = no_transitions();
        let drafter = Drafter { grammar: &grammar, transitions: Some(&transitions), redraft: true };
        let table = [scores(OUTSIDE, CITY), scores(OUTSIDE, CITY), scores(CITY, TIME)].concat();
        let sentence = Sentence { words: 3, scores: table };
        let draft = drafter.draft(&sentence, &[], &Hints::default());
        assert_eq!(draft.ids, ids(&["O", "O", "city"]));
        // The decoder would have chosen `time`, `O`, `time`.
        let choices = ids(&["time", "O", "time"]);
        let mut chosen_ids = draft.ids.clone();
        for slot in &draft.slots {
            let chosen = grammar.ids([TIME, OUTSIDE, TIME][slot.word]);
            chosen_ids[slot.start] = chosen[0];
        }
        let hints = drafter.hints(&sentence, &draft.ids, &draft.slots, 0, &chosen_ids);
        assert_eq!(hints.tags[&0], Hint { tag: TIME, previous: OUTSIDE });
        assert_eq!(hints.tags[&2], Hint { tag: TIME, previous: OUTSIDE });
        let target = &choices[..1 + grammar.ids(TIME).len()];
        let next = [target, &drafter.draft(&sentence, target, &hints).ids].concat();
        assert_eq!(next, ids(&["time", "O", "time"]));
        // A draft may be cut inside a tag or before one.
        for length in 0..draft.ids.len() {
            for asked in [length, length + 1] {
                drafter.hints(&sentence, &draft.ids[..length], &draft.slots, 0, &chosen_ids[..asked]);
            }
        }
        let plain = Drafter { redraft: false, ..drafter };
        assert_eq!(plain.hints(&sentence, &draft.ids, &draft.slots, 0, &chosen_ids), Hints::default());
    }
}
