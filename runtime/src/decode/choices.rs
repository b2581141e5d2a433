//! The ids that a pass chooses for a row, and their scores.

use hyperloader_core::calibration::Calibration;
use hyperloader_core::decode::limits::Limits;
use hyperloader_core::decode::rows::{Choices, Row};
use hyperloader_core::text::scores::IdScore;
use hyperloader_core::text::target::TargetGrammar;

use super::legal::{LegalChoice, LegalIds};
use crate::backend::{BackendError, Value};
use crate::error::GraphFault;
use crate::model::Parts;
use crate::options::{Mode, TaggerOptions};
use crate::split::Chosen;

/// The most likely id in the graph, or one of the legal ids here.
#[derive(Debug)]
enum Rule {
    /// The argmax over the vocabulary, and a score for it if the ids that it competes with are given.
    Likeliest(Option<LegalIds>),
    /// The most likely legal id, in `constrained`.
    Legal(LegalIds),
}

/// How ids are chosen and scored.
#[derive(Debug)]
pub(super) struct ChoiceRule {
    rule: Rule,
    /// Whether to compute [`Choices::scores`].
    scores: bool,
    /// Divides the logits of scores.
    temperature: f32,
}

impl ChoiceRule {
    /// The rule of `options`.
    ///
    /// # Errors
    /// If the mode needs ids that the labels or the graph's vocabulary lack.
    pub(super) fn new(
        file: Parts<'_>,
        grammar: &TargetGrammar,
        options: &TaggerOptions,
    ) -> Result<Self, GraphFault> {
        let vocab_size = file.vocab_size;
        let rule = match options.mode {
            Mode::Constrained => {
                grammar.check()?;
                let legal = LegalIds::new(grammar);
                match legal.vocabulary().iter().find(|id| **id as usize >= vocab_size) {
                    Some(&id) => return Err(GraphFault::Vocabulary { id, vocab_size }),
                    None => Rule::Legal(legal),
                }
            }
            _ => Rule::Likeliest(options.needs_scores().then(|| LegalIds::below(grammar, vocab_size))),
        };
        let temperature = file.metadata.calibration.as_ref().map_or(1.0, Calibration::divisor);
        Ok(Self { rule, scores: options.needs_scores(), temperature })
    }

    /// The outputs of the decoder that the rule needs.
    pub(super) fn outputs(&self) -> Chosen<'_> {
        match &self.rule {
            Rule::Likeliest(None) => Chosen::Ids,
            Rule::Likeliest(Some(ids)) => {
                Chosen::ScoredIds { ids: ids.vocabulary(), temperature: self.temperature }
            }
            Rule::Legal(ids) => Chosen::Logits(ids.vocabulary()),
        }
    }

    /// The ids whose logits the decoder gives; none without scores.
    pub(super) fn scored_ids(&self) -> &[u32] {
        match &self.rule {
            Rule::Likeliest(ids) => ids.as_ref().map_or(&[], LegalIds::vocabulary),
            Rule::Legal(ids) => ids.vocabulary(),
        }
    }

    /// The undecided positions of `row` that the decoder must be run for.
    pub(super) fn wanted(&self, row: &Row, grammar: &TargetGrammar, limits: Limits) -> Vec<usize> {
        match &self.rule {
            Rule::Likeliest(_) => row.undecided(limits).collect(),
            Rule::Legal(legal) => legal.open_positions(row, grammar, limits),
        }
    }

    /// The choices for `row`, whose `wanted` positions the decoder's outputs begin with. They are taken off `outputs`.
    pub(super) fn choices(
        &self,
        row: &Row,
        grammar: &TargetGrammar,
        limits: Limits,
        wanted: &[usize],
        outputs: &mut Outputs<'_>,
    ) -> Choices {
        match &self.rule {
            Rule::Likeliest(competitors) => {
                self.likeliest(competitors.as_ref(), row, grammar, wanted, outputs)
            }
            Rule::Legal(legal) => {
                let width = legal.vocabulary().len();
                let logits = outputs.take(0, wanted.len() * width);
                // The decoder gives logits only of the wanted positions; the others have one legal id.
                let faulty = first_fault(logits).and_then(|at| wanted.get(at / width.max(1)));
                let faulty = faulty.map(|position| position - row.accepted());
                let mut choices = Choices { faulty, ..Choices::default() };
                for LegalChoice { id, logit, others } in legal.choices(row, grammar, limits, wanted, logits) {
                    // The probabilities of the legal ids sum to 1.
                    let score = || IdScore::of_logits(logit, others.iter().copied(), self.temperature);
                    choices.push(id, self.scores.then(score));
                }
                choices
            }
        }
    }

    fn likeliest(
        &self,
        competitors: Option<&LegalIds>,
        row: &Row,
        grammar: &TargetGrammar,
        wanted: &[usize],
        outputs: &mut Outputs<'_>,
    ) -> Choices {
        let ids = outputs.take_ids(wanted.len());
        let logits = outputs.take(0, wanted.len());
        let mut choices = Choices { faulty: first_fault(logits), ..Choices::default() };
        let scored = competitors.map(|legal| {
            let width = legal.vocabulary().len();
            (legal, outputs.take(1, wanted.len()), outputs.take(2, wanted.len() * width).chunks(width.max(1)))
        });
        // An argmax over the vocabulary is a small number that is not negative.
        choices.ids = ids.iter().map(|id| u32::try_from(*id).unwrap_or_default()).collect();
        let Some((legal, log_probabilities, rows)) = scored else { return choices };
        choices.faulty = choices.faulty.into_iter().chain(first_fault(log_probabilities)).min();
        let positions = wanted.iter().zip(&choices.ids).zip(logits).zip(log_probabilities).zip(rows);
        for ((((&position, &id), &logit), &log_probability), of_legal) in positions {
            let next = grammar.next(&row.target()[..position], row.words());
            let others = next.into_iter().filter(|other| *other != id);
            let best =
                others.filter_map(|other| legal.logit(of_legal, other)).fold(f32::NEG_INFINITY, f32::max);
            choices.scores.push(IdScore { log_probability, margin: (logit - best) / self.temperature });
        }
        choices
    }
}

/// The index of the first number that is not finite.
fn first_fault(numbers: &[f32]) -> Option<usize> {
    numbers.iter().position(|number| !number.is_finite())
}

/// The decoder's first outputs, of which each row takes its part in turn.
#[derive(Debug, Default)]
pub(super) struct Outputs<'a> {
    ids: &'a [i64],
    /// The outputs of float32, in their order.
    numbers: Vec<&'a [f32]>,
}

impl<'a> Outputs<'a> {
    /// The outputs of a graph with [`ChoiceRule::outputs`].
    ///
    /// # Errors
    /// If an output has another element type.
    pub(super) fn new(values: &'a [Value], chosen: Chosen<'_>) -> Result<Self, BackendError> {
        let (ids, numbers): (&[i64], _) = match (chosen, values) {
            (Chosen::Logits(_), _) => (&[], values),
            (_, [ids, numbers @ ..]) => (ids.i64s()?, numbers),
            (_, []) => (&[], values),
        };
        Ok(Self { ids, numbers: numbers.iter().map(Value::f32s).collect::<Result<_, _>>()? })
    }

    fn take_ids(&mut self, count: usize) -> &'a [i64] {
        let (taken, rest) = self.ids.split_at(count.min(self.ids.len()));
        self.ids = rest;
        taken
    }

    fn take(&mut self, output: usize, count: usize) -> &'a [f32] {
        let Some(numbers) = self.numbers.get_mut(output) else { return &[] };
        let (taken, rest) = numbers.split_at(count.min(numbers.len()));
        *numbers = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::sentt::SentT;

    use super::*;
    use hyperloader_core::decode::draft::{Draft, Sentence};

    const LIMITS: Limits = Limits { eos: 1, max_target_len: 9, vocab_size: 99, horizon: usize::MAX };

    fn grammar() -> TargetGrammar {
        let codec = SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        TargetGrammar::new(&codec, ["city"]).unwrap()
    }

    fn faulty(rule: Rule, ids: &[i64], numbers: &[&[f32]], wanted: &[usize]) -> Option<usize> {
        let mut row = Row::new(0, Sentence { words: 2, ..Sentence::default() }, LIMITS);
        row.propose(Draft { ids: vec![5, 6, 7], slots: vec![] }, LIMITS);
        let rule = ChoiceRule { rule, scores: false, temperature: 1.0 };
        let mut outputs = Outputs { ids, numbers: numbers.to_vec() };
        rule.choices(&row, &grammar(), LIMITS, wanted, &mut outputs).faulty
    }

    #[test]
    fn the_place_of_the_first_number_that_is_not_finite_is_kept() {
        let (nan, all) = (f32::NAN, [0, 1, 2]);
        assert_eq!(faulty(Rule::Likeliest(None), &[5, 6, 7], &[&[1.0, 2.0, 3.0]], &all), None);
        assert_eq!(faulty(Rule::Likeliest(None), &[5, 6, 7], &[&[1.0, nan, nan]], &all), Some(1));
        // Also of numbers that only the scores need.
        let legal = LegalIds::new(&grammar());
        let of_legal = vec![0.0; 3 * legal.vocabulary().len()];
        let infinite = [-1.0, f32::NEG_INFINITY, -1.0];
        let numbers: [&[f32]; 3] = [&[1.0, 2.0, nan], &infinite, &of_legal];
        assert_eq!(faulty(Rule::Likeliest(Some(legal)), &[5, 6, 7], &numbers, &all), Some(1));
        // Logits of the positions 1 and 3 alone: the fault is at the second of them.
        let legal = LegalIds::new(&grammar());
        let mut logits = vec![0.0; 2 * legal.vocabulary().len()];
        *logits.last_mut().unwrap() = nan;
        assert_eq!(faulty(Rule::Legal(legal), &[], &[&logits], &[1, 3]), Some(3));
    }
}
