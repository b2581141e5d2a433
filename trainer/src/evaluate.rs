//! Validation loss by teacher forcing, and seqeval F1 by batched greedy decoding (reference section 3.6).

use hyperloader_core::text::metrics::{MetricError, evaluate};
use hyperloader_core::text::sentt::SentTError;
use hyperloader_core::text::spans::SpanMode;
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::wordpiece::WordPieceError;
use serde::{Deserialize, Serialize};

use crate::analysis::{Details, Sentence};
use crate::data::Example;
use crate::learner::Learner;
use crate::model::TaggerError;

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] TaggerError),
    /// What the model wrote could not be decoded.
    #[error(transparent)]
    Decode(#[from] SentTError),
    /// A word could not be encoded.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// What the model computed is no batch of tags.
    #[error("the model's output cannot be read: {0}")]
    Tensor(String),
    /// Gold and prediction do not align.
    #[error(transparent)]
    Metric(#[from] MetricError),
}

/// How an evaluation is run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Sentences of a batch.
    pub batch_size: usize,
    /// As in training, so that losses compare.
    pub label_smoothing: f64,
    /// Longest generated target in tokens, `</s>` included.
    pub max_target_len: usize,
    /// Which word a generated tag belongs to.
    pub alignment: Alignment,
    /// Whether [`Evaluation::details`] are wanted.
    pub details: bool,
}

/// How well a task's split is tagged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sentences.
    pub sentences: usize,
    /// Label-smoothed loss in nats per target token.
    pub loss: f64,
    /// Micro-averaged span F1, as seqeval's default mode.
    pub f1: f64,
    /// Micro-averaged precision.
    pub precision: f64,
    /// Micro-averaged recall.
    pub recall: f64,
    /// Labels and sentences behind the scores, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// Evaluates `task` on `examples`; gold tags come from the file and are never truncated.
///
/// # Errors
/// If the model fails, or what it wrote cannot be decoded.
pub fn evaluate_task(
    learner: &dyn Learner,
    task: &str,
    examples: &[Example],
    settings: &Settings,
) -> Result<Evaluation, EvaluationError> {
    // Sentences of like length together: less padding, and rows that end together.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&at| examples[at].source.len());
    let (mut sum, mut tokens) = (0.0, 0);
    let mut predicted = vec![Vec::new(); examples.len()];
    for chunk in order.chunks(settings.batch_size) {
        let rows: Vec<&Example> = chunk.iter().map(|&at| &examples[at]).collect();
        let loss = tch::no_grad(|| learner.loss(task, &rows, settings.label_smoothing, false))?;
        sum += loss.sum;
        tokens += loss.tokens;
        for (&at, tags) in chunk.iter().zip(learner.tags(task, &rows, settings)?) {
            predicted[at] = tags;
        }
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
    Ok(Evaluation {
        sentences: gold.len(),
        loss: sum / tokens.max(1) as f64,
        f1: report.micro.f1,
        precision: report.micro.precision,
        recall: report.micro.recall,
        details,
    })
}

/// What belongs to each sentence, from what belongs to each of its windows.
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
    use super::*;

    #[test]
    fn the_windows_of_a_sentence_are_joined_and_sentences_stay_apart() {
        let window = |sentence| Example {
            source: Vec::new(),
            target: Vec::new(),
            words: Vec::new(),
            tags: Vec::new(),
            sentence,
        };
        let examples = [0, 1, 1, 1, 2].map(window);
        let parts = [vec!["a"], vec!["b", "c"], vec![], vec!["d"], vec!["e"]];
        let owned = parts.map(|part| part.into_iter().map(str::to_owned).collect());
        assert_eq!(join_windows(&examples, owned), [vec!["a"], vec!["b", "c", "d"], vec!["e"]]);
    }
}
