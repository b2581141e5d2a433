//! Evaluation of a split: the loss by teacher forcing (docs/reference/metrics.md#evaluation-loss), and span F1 of predicted
//! tags (docs/reference/metrics.md#seqeval).
//!
//! - [`evaluate_task`] scores a split; [`loss_of`] gives its loss alone.
//! - [`hyperloader_core::evaluate`]: scores by label, confusions and the worst sentences.

use hyperloader_core::corpus::{Predicted, exact_scores};
use hyperloader_core::evaluate::{Details, Sentence};
use hyperloader_core::text::metrics::{MetricError, Scores, evaluate};
use hyperloader_core::text::spans::SpanMode;
use serde::{Deserialize, Deserializer, Serialize};

use crate::data::Example;
use crate::model::{Decoding, Learner, ModelError};
use crate::parallel::{Group, PeerFailed};

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Gold and predicted tags differ in number.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Another process failed.
    #[error(transparent)]
    Peer(#[from] PeerFailed),
}

/// The settings of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The number of sentences of a batch.
    pub batch_size: usize,
    /// The label smoothing of the loss: that of training, so that the losses are comparable.
    pub label_smoothing: f64,
    /// How tags are decoded.
    pub decoding: Decoding,
    /// Whether to compute [`Evaluation::details`].
    pub details: bool,
}

/// The scores of a model on a split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of sentences.
    pub sentences: usize,
    /// Label-smoothed loss in nats per target token; `null` in JSON if it is not a number.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Micro-averaged span F1 in seqeval's default mode, from 0 to 1.
    pub f1: f64,
    /// Micro-averaged precision, from 0 to 1.
    pub precision: f64,
    /// Micro-averaged recall, from 0 to 1.
    pub recall: f64,
    /// Scores of the spans in characters of the text ([`exact_scores`]), where the corpus marks spans rather than words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Scores>,
    /// Scores by label, confusions and the worst sentences, if [`Settings::details`] asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

impl Evaluation {
    /// The same without [`Evaluation::details`].
    pub fn without_details(&self) -> Self {
        Self { details: None, ..self.clone() }
    }
}

/// The scores of a model on a split, and what it generated for them.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The scores.
    pub evaluation: Evaluation,
    /// The generated target of each example ([`Prediction::target`](crate::model::Prediction::target)).
    pub targets: Vec<Vec<u32>>,
}

/// A number; NaN if it is `null`.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Evaluates `task` on `examples`. Gold tags are those of the file and are never truncated. The processes of `group` share
/// the batches, and all of them return the same.
///
/// # Errors
/// If the model fails, or its output cannot be decoded. If another process failed.
pub fn evaluate_task(
    learner: &dyn Learner,
    task: &str,
    examples: &[Example],
    settings: &Settings,
    group: &Group,
) -> Result<Evaluated, EvaluationError> {
    // Batches of similar length have less padding, and their rows end at similar steps.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&at| examples[at].source.len());
    let chunks: Vec<&[usize]> = order.chunks(settings.batch_size).collect();
    let batches = group.map(chunks.len(), |number| {
        let rows: Vec<&Example> = chunks[number].iter().map(|&at| &examples[at]).collect();
        let (loss, predicted) = learner.evaluate(task, &rows, settings.label_smoothing, settings.decoding)?;
        Ok::<_, EvaluationError>(((loss.sum, loss.tokens), predicted))
    })?;
    let loss = mean(batches.iter().map(|(loss, _)| *loss));
    let (mut predicted, mut targets) = (vec![Vec::new(); examples.len()], vec![Vec::new(); examples.len()]);
    for (at, of_example) in order.iter().zip(batches.into_iter().flat_map(|(_, predicted)| predicted)) {
        (predicted[*at], targets[*at]) = (of_example.tags, of_example.target);
    }
    let words = join_windows(examples, examples.iter().map(|example| example.words.clone()));
    let gold = join_windows(examples, examples.iter().map(|example| example.tags.clone()));
    let predicted = join_windows(examples, predicted);
    let report = evaluate(&gold, &predicted, SpanMode::Default)?;
    let details = settings.details.then(|| {
        let rows = words.iter().zip(&gold).zip(&predicted);
        let sentences: Vec<Sentence> =
            rows.map(|((words, gold), predicted)| Sentence { words, gold, predicted }).collect();
        Details::new(&report, &sentences)
    });
    let evaluation = Evaluation {
        sentences: gold.len(),
        loss,
        f1: report.micro.f1,
        precision: report.micro.precision,
        recall: report.micro.recall,
        exact: exact(examples, &gold, &predicted),
        details,
    };
    Ok(Evaluated { evaluation, targets })
}

/// The label-smoothed loss of `task` on `examples` in nats per target token, as [`Evaluation::loss`]. The processes of `group`
/// share the batches.
///
/// # Errors
/// If the model fails. If another process failed.
pub fn loss_of(
    learner: &dyn Learner,
    task: &str,
    examples: &[Example],
    settings: &Settings,
    group: &Group,
) -> Result<f64, EvaluationError> {
    let chunks: Vec<&[Example]> = examples.chunks(settings.batch_size).collect();
    let losses = group.map(chunks.len(), |number| {
        let rows: Vec<&Example> = chunks[number].iter().collect();
        let loss = tch::no_grad(|| learner.loss(task, &rows, settings.label_smoothing, false))?;
        Ok::<_, EvaluationError>((loss.sum, loss.tokens))
    })?;
    Ok(mean(losses))
}

/// The loss of each target, from the losses of batches in their order.
fn mean(losses: impl IntoIterator<Item = (f64, i64)>) -> f64 {
    let add = |(sum, tokens), (loss, more)| (sum + loss, tokens + more);
    let (sum, tokens): (f64, i64) = losses.into_iter().fold((0.0, 0), add);
    sum / tokens.max(1) as f64
}

/// The scores of sentences, each in one or more windows, against the spans of the file.
fn exact(examples: &[Example], gold: &[Vec<String>], predicted: &[Vec<String>]) -> Option<Scores> {
    let sentences = examples.chunk_by(|a, b| a.sentence == b.sentence).zip(gold).zip(predicted);
    exact_scores(sentences.map(|((windows, gold), tags)| Predicted {
        gold,
        marked: windows[0].marked.as_deref(),
        tags,
    }))
}

/// Joins the values of a sentence's windows to those of the sentence.
fn join_windows(examples: &[Example], parts: impl IntoIterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let mut sentences: Vec<Vec<String>> = Vec::new();
    let mut before = None;
    for (example, part) in examples.iter().zip(parts) {
        match sentences.last_mut() {
            Some(sentence) if before == Some(example.sentence) => sentence.extend(part),
            _ => sentences.push(part),
        }
        before = Some(example.sentence);
    }
    sentences
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyperloader_core::corpus::{CharSpan, MarkedText};

    use super::*;

    #[test]
    fn the_windows_of_a_sentence_are_joined_and_sentences_stay_apart() {
        let window = |sentence| Example {
            source: Vec::new(),
            target: Vec::new(),
            words: Vec::new(),
            tags: Vec::new(),
            sentence,
            is_whole: true,
            marked: None,
        };
        let examples = [0, 1, 1, 1, 2].map(window);
        let parts = [vec!["a"], vec!["b", "c"], vec![], vec!["d"], vec!["e"]];
        let owned = parts.map(|part| part.into_iter().map(str::to_owned).collect());
        assert_eq!(join_windows(&examples, owned), [vec!["a"], vec!["b", "c", "d"], vec!["e"]]);
    }

    #[test]
    fn spans_that_a_file_marks_inside_words_are_errors_by_character() {
        let span = |start, end| CharSpan { start, end, label: "D".to_owned() };
        let example = |sentence, words: &[(usize, usize)], spans: &[CharSpan], tags: &[&str]| Example {
            source: Vec::new(),
            target: Vec::new(),
            words: Vec::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            sentence,
            is_whole: true,
            marked: Some(Arc::new(MarkedText { words: words.to_vec(), spans: spans.to_vec() })),
        };
        // `in 2023. ok`: the file marks `2023`, the word is `2023.`.
        let narrow = example(0, &[(0, 2), (3, 8), (9, 11)], &[span(3, 7)], &["O", "B-D", "O"]);
        // Two windows of one sentence of four words.
        let words = [(0, 1), (2, 3), (4, 5), (6, 7)];
        let windows =
            [["B-D", "O"], ["B-D", "I-D"]].map(|tags| example(1, &words, &[span(0, 1), span(4, 7)], &tags));
        let examples: Vec<Example> = [narrow].into_iter().chain(windows).collect();
        let gold = join_windows(&examples, examples.iter().map(|example| example.tags.clone()));
        let scores = exact(&examples, &gold, &gold).unwrap();
        assert_eq!((scores.precision, scores.recall, scores.support), (2.0 / 3.0, 2.0 / 3.0, 3));
    }
}
