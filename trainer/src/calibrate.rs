//! Calibration of a task's scores on its validation sentences (docs/scores.md#calibration).
//!
//! Every second sentence belongs to the half that the temperature and the maps are fitted on. The other half tests thresholds.
//! How reliable the scores are is shown by both: each half has the scores of a fit on the other (cross-fitting).

use hyperloader_core::calibration::map::{ScoreMap, ScoreMaps};
use hyperloader_core::calibration::reliability::Reliability;
use hyperloader_core::calibration::selection::SelectionTable;
use hyperloader_core::calibration::spans::SpanTable;
use hyperloader_core::calibration::{Calibration, Judged, Outcome, temperature};
use hyperloader_core::run::{Change, TaskCalibration};
use hyperloader_core::text::scores::{Score, rounded};
use hyperloader_core::text::spans::{Span, SpanMode, bio_to_spans};
use hyperloader_core::text::target::Alignment;

use crate::data::Example;
use crate::evaluate::EvaluationError;
use crate::model::{Decoding, ExampleScores, Learner, Scored};
use crate::parallel::Group;

/// The fewest validation sentences that are used.
pub const FEWEST: usize = 20;
/// The most sentences that the temperature is fitted on: one number needs no more.
const MOST_FITTED: usize = 500;

/// Calibrates `task` on its validation examples and the targets that the model generates for them; `None` if they are fewer than
/// [`FEWEST`] sentences. The processes of `group` share the batches.
///
/// # Errors
/// If the model fails, or its output cannot be decoded. If another process failed.
pub(crate) fn calibrate_task(
    learner: &dyn Learner,
    task: &str,
    (valid, targets): (&[Example], &[Vec<u32>]),
    batch_size: usize,
    decoding: Decoding,
    group: &Group,
) -> Result<Option<TaskCalibration>, EvaluationError> {
    let scorer = Scorer { learner, task, batch_size, decoding, group };
    if valid.chunk_by(|a, b| a.sentence == b.sentence).count() < FEWEST {
        return Ok(None);
    }
    let windows: Vec<Window> =
        valid.iter().zip(targets).map(|(example, target)| Window { example, target }).collect();
    let sentences: Vec<&[Window]> =
        windows.chunk_by(|a, b| a.example.sentence == b.example.sentence).collect();
    let half = |odd: usize| sentences.iter().copied().skip(odd).step_by(2).collect::<Vec<_>>();
    let halves = [half(0), half(1)];
    let temperatures = [1.0, scorer.fit(&halves[0])?, scorer.fit(&halves[1])?];
    let scores = [scorer.score(&halves[0], &temperatures)?, scorer.score(&halves[1], &temperatures)?];
    let [fit, other] = [Fit::new(&scores[0], 1), Fit::new(&scores[1], 2)];
    let none = Fit::default();
    let change = |of: fn(&Fit, &[ScoredSentence]) -> Vec<Vec<Judged>>| Change {
        before: scores.iter().flat_map(|scores| of(&none, scores)).collect(),
        after: [of(&other, &scores[0]), of(&fit, &scores[1])].into_iter().flatten().collect(),
    };
    let Change { before, after } = change(Fit::tags);
    Ok(Some(TaskCalibration {
        calibration: fit.calibration(&temperatures, &scores, decoding.alignment),
        fitted_on: halves[0].len(),
        tested_on: sentences.len(),
        before,
        after,
        sentences: Some(change(Fit::judged_sentences)),
    }))
}

/// How scores are calibrated. By default, they are not.
#[derive(Debug, Default)]
struct Fit {
    /// The index of the temperature.
    temperature: usize,
    maps: ScoreMaps,
}

impl Fit {
    /// The fit on `sentences`, which are scored at temperature 1 and, with the index `candidate`, at the one with the least log
    /// loss. The second is used if it lowers the expected calibration error of the tags; a lower log loss does not always.
    fn new(sentences: &[ScoredSentence], candidate: usize) -> Self {
        let [one, other] = [0, candidate].map(|temperature| Self { temperature, ..Self::default() });
        let error = |fit: &Self| fit.tags(sentences).into_iter().collect::<Reliability>().error();
        let temperature = if error(&other) < error(&one) { candidate } else { 0 };
        let unmapped = Self { temperature, ..Self::default() };
        let maps = ScoreMaps {
            tag: ScoreMap::fit(&unmapped.tags(sentences)),
            sentence: ScoreMap::fit(&unmapped.judged_sentences(sentences)),
        };
        Self { temperature, maps }
    }

    /// What is exported. Thresholds are chosen by the half of the sentences that the fit was made on, the first of `scores`, and
    /// tested on the other.
    fn calibration(
        &self,
        temperatures: &[f64],
        scores: &[Vec<ScoredSentence>; 2],
        alignment: Alignment,
    ) -> Calibration {
        let [choose_by, test_on] = scores;
        let selection = SelectionTable::new(&self.sentences(choose_by), &self.sentences(test_on));
        let spans = SpanTable::new(&self.spans(choose_by), &self.spans(test_on));
        Calibration {
            temperature: temperatures[self.temperature],
            alignment,
            maps: self.maps,
            selection: Some(selection),
            spans: Some(spans),
        }
    }

    /// The score of each tag of `sentences`, and whether the tag is correct.
    fn tags(&self, sentences: &[ScoredSentence]) -> Vec<Vec<Judged>> {
        let mapped = |(score, is_correct): (Score, bool)| (self.maps.of_tag(score.probability()), is_correct);
        sentences.iter().map(|sentence| sentence.tags(self.temperature).map(mapped).collect()).collect()
    }

    /// The score of each of `sentences` that is tagged whole, and whether all its tags are correct.
    fn judged_sentences(&self, sentences: &[ScoredSentence]) -> Vec<Vec<Judged>> {
        self.sentences(sentences).into_iter().map(|outcome| vec![outcome.judged()]).collect()
    }

    /// The outcomes of those of `sentences` that are tagged whole.
    fn sentences(&self, sentences: &[ScoredSentence]) -> Vec<Outcome> {
        let mapped = |raw: Outcome| Outcome { score: self.maps.of_sentence(raw.score), ..raw };
        sentences.iter().filter_map(|sentence| sentence.outcome(self.temperature)).map(mapped).collect()
    }

    /// The outcomes of the spans of those of `sentences` that are tagged whole.
    fn spans(&self, sentences: &[ScoredSentence]) -> Vec<Vec<Outcome>> {
        let mapped = |raw: &Outcome| Outcome { score: self.maps.of_tag(raw.score), ..*raw };
        let spans = sentences.iter().filter_map(|sentence| sentence.spans(self.temperature));
        spans.map(|spans| spans.iter().map(mapped).collect()).collect()
    }
}

/// Scores sentences with the model.
struct Scorer<'a> {
    learner: &'a dyn Learner,
    task: &'a str,
    batch_size: usize,
    decoding: Decoding,
    group: &'a Group,
}

/// A part of a sentence, or all of it, and the target that the model generates for it.
struct Window<'a> {
    example: &'a Example,
    target: &'a [u32],
}

/// A sentence with its gold tags, in windows.
struct ScoredSentence<'a> {
    windows: Vec<(&'a Example, Scored)>,
}

impl Scorer<'_> {
    /// The temperature with the least loss of the tags of `sentences`.
    fn fit(&self, sentences: &[&[Window<'_>]]) -> Result<f64, EvaluationError> {
        let step = sentences.len().div_ceil(MOST_FITTED).max(1);
        let used: Vec<&[Window<'_>]> = sentences.iter().copied().step_by(step).collect();
        let candidates = temperature::candidates();
        let scores = self.score(&used, &candidates)?;
        let loss = |at: usize| -> f64 {
            let tags = scores.iter().flat_map(|sentence| sentence.tags(at));
            tags.map(|(score, is_correct)| temperature::loss(score.log_probability, is_correct)).sum()
        };
        let losses: Vec<f64> = (0..candidates.len()).map(loss).collect();
        Ok(rounded(temperature::best(&losses)))
    }

    /// The scores of `sentences` at each of `temperatures`, in order.
    fn score<'s>(
        &self,
        sentences: &[&[Window<'s>]],
        temperatures: &[f64],
    ) -> Result<Vec<ScoredSentence<'s>>, EvaluationError> {
        let windows: Vec<&Window<'s>> = sentences.iter().copied().flatten().collect();
        // Batches of similar length have less padding.
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|&at| windows[at].example.source.len());
        let mut scored: Vec<Option<Scored>> = vec![None; windows.len()];
        let batches: Vec<&[usize]> = order.chunks(self.batch_size).collect();
        let of_batches = self.group.map(batches.len(), |number| {
            let row = |&at: &usize| (windows[at].example, windows[at].target);
            let rows: Vec<_> = batches[number].iter().map(row).collect();
            Ok::<_, EvaluationError>(self.learner.scored(self.task, &rows, self.decoding, temperatures)?)
        })?;
        for (at, of_window) in order.iter().zip(of_batches.into_iter().flatten()) {
            scored[*at] = Some(of_window);
        }
        let mut pairs = windows.iter().map(|window| window.example).zip(scored.into_iter().flatten());
        let sentence = |windows: &&[Window<'s>]| ScoredSentence {
            windows: pairs.by_ref().take(windows.len()).collect(),
        };
        Ok(sentences.iter().map(sentence).collect())
    }
}

impl ScoredSentence<'_> {
    /// The score of each tag at the temperature of this index, and whether the tag is that of gold.
    fn tags(&self, temperature: usize) -> impl Iterator<Item = (Score, bool)> {
        self.windows.iter().flat_map(move |(example, scored)| {
            let correct = scored.tags.iter().zip(&example.tags).map(|(predicted, gold)| predicted == gold);
            scored.at[temperature].tags.iter().copied().zip(correct)
        })
    }

    /// The score of the sentence at the temperature of this index, and whether any of its tags is wrong. `None` if `hl-run`
    /// tags the sentence in parts: it answers none of those.
    fn outcome(&self, temperature: usize) -> Option<Outcome> {
        let (example, tags, scores) = self.whole(temperature)?;
        Some(Outcome { score: scores.example.probability(), is_wrong: *tags != example.tags })
    }

    /// The score of each predicted span at the temperature of this index, and whether gold does not have the span. `None` as
    /// for [`ScoredSentence::outcome`].
    fn spans(&self, temperature: usize) -> Option<Vec<Outcome>> {
        let (example, tags, scores) = self.whole(temperature)?;
        let [gold, predicted] = [&example.tags, tags].map(|tags| bio_to_spans(tags, SpanMode::Default));
        let outcome = |span: &Span| {
            let words = scores.words.get(span.start..span.end).unwrap_or_default();
            let score = Score::product(words.iter().copied()).probability();
            Outcome { score, is_wrong: !gold.contains(span) }
        };
        Some(predicted.iter().map(outcome).collect())
    }

    /// The sentence, its predicted tags and their scores, if it is tagged whole.
    fn whole(&self, temperature: usize) -> Option<(&Example, &Vec<String>, &ExampleScores)> {
        match &self.windows[..] {
            [(example, scored)] if example.is_whole => {
                Some((example, &scored.tags, scored.at.get(temperature)?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(gold: &str, predicted: &str, probability: f64) -> (Example, Scored) {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let score = Score { log_probability: probability.ln(), margin: 0.0 };
        let example = Example {
            source: vec![],
            target: vec![],
            words: words(gold),
            tags: words(gold),
            sentence: 0,
            is_whole: true,
            marked: None,
        };
        let tags = vec![score; words(predicted).len()];
        (
            example,
            Scored {
                tags: words(predicted),
                at: vec![ExampleScores { example: score, words: tags.clone(), tags }],
            },
        )
    }

    #[test]
    fn only_sentences_that_are_tagged_whole_have_an_outcome() {
        let right = window("O B-a", "O B-a", 0.5);
        let wrong = window("O O I-a", "O O O", 0.25);
        let both = ScoredSentence { windows: vec![(&right.0, right.1.clone()), (&wrong.0, wrong.1.clone())] };
        assert_eq!(both.outcome(0), None);
        let correct: Vec<bool> = both.tags(0).map(|(_, is_correct)| is_correct).collect();
        assert_eq!(correct, [true, true, true, true, false]);
        let outcome = |(example, scored): &(Example, Scored)| {
            ScoredSentence { windows: vec![(example, scored.clone())] }.outcome(0)
        };
        assert_eq!(outcome(&right).map(|outcome| outcome.is_wrong), Some(false));
        let of_wrong = outcome(&wrong).unwrap();
        assert!((of_wrong.score - 0.25).abs() < 1e-12 && of_wrong.is_wrong);
        let cut = (Example { is_whole: false, ..right.0 }, right.1);
        assert_eq!(outcome(&cut), None);
    }

    #[test]
    fn a_span_has_the_product_over_its_words_and_is_wrong_unless_gold_has_it() {
        let (example, scored) = window("B-a I-a O B-b B-c", "B-a I-a B-a B-a B-c", 0.5);
        let sentence = ScoredSentence { windows: vec![(&example, scored)] };
        let spans = sentence.spans(0).unwrap();
        assert_eq!(spans.iter().map(|span| span.is_wrong).collect::<Vec<_>>(), [false, true, true, false]);
        for (span, expected) in spans.iter().zip([0.25, 0.5, 0.5, 0.5]) {
            assert!((span.score - expected).abs() < 1e-12, "{span:?}");
        }
    }

    #[test]
    fn a_temperature_that_makes_scores_less_reliable_is_not_used() {
        let sentence = |tags: [(&str, &str); 2], scores: [f64; 2]| {
            let [gold, predicted] = [tags.map(|tag| tag.0), tags.map(|tag| tag.1)].map(|tags| tags.join(" "));
            let (example, mut scored) = window(&gold, &predicted, scores[0]);
            scored.at.extend(window(&gold, &predicted, scores[1]).1.at);
            (example, scored)
        };
        // Half of the tags are right.
        let half = [("O", "O"), ("O", "B-a")];
        for (scores, expected) in [([0.9, 0.5], 1), ([0.5, 0.9], 0), ([0.7, 0.7], 0)] {
            let (example, scored) = sentence(half, scores);
            let sentences = [ScoredSentence { windows: vec![(&example, scored)] }];
            assert_eq!(Fit::new(&sentences, 1).temperature, expected, "{scores:?}");
        }
    }
}
