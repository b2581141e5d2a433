//! Validation loss by teacher forcing, and seqeval F1 by batched greedy decoding (reference section 3.6).

use hyperloader_core::metrics::{MetricError, Report, evaluate};
use hyperloader_core::sentt::{SentT, SentTError};
use hyperloader_core::spans::{SpanMode, fit_to_length, sbio_to_bio};
use serde::Serialize;

use crate::data::{Batch, Example};
use crate::model::{Tagger, TaggerError};

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] TaggerError),
    /// What the model wrote could not be decoded.
    #[error(transparent)]
    Decode(#[from] SentTError),
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
}

/// How well a task's split is tagged.
#[derive(Debug, Clone, Serialize)]
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
}

/// Evaluates `task` on `examples`; gold tags come from the file and are never truncated.
///
/// # Errors
/// If the model fails, or the tokenizer cannot decode what it wrote.
pub fn evaluate_task(
    tagger: &Tagger,
    codec: &SentT,
    task: &str,
    examples: &[Example],
    settings: &Settings,
) -> Result<Evaluation, EvaluationError> {
    // Sentences of like length together: less padding, and rows that end together.
    let mut order: Vec<&Example> = examples.iter().collect();
    order.sort_by_key(|e| e.source.len());
    let (mut sum, mut tokens) = (0.0, 0);
    let (mut gold, mut predicted) = (Vec::new(), Vec::new());
    for chunk in order.chunks(settings.batch_size) {
        let batch = Batch::new(chunk, tagger.t5.config.pad_token_id, tagger.device());
        let loss = tch::no_grad(|| tagger.loss(&batch, task, settings.label_smoothing, false))?;
        sum += loss.sum;
        tokens += loss.tokens;
        for (example, ids) in chunk.iter().zip(tagger.greedy(
            task,
            &batch.input_ids,
            &batch.attention_mask,
            settings.max_target_len,
        )?) {
            predicted.push(bio_tags(codec, &ids, example.tags.len())?);
            gold.push(example.tags.clone());
        }
    }
    let Report { micro, .. } = evaluate(&gold, &predicted, SpanMode::Default)?;
    Ok(Evaluation {
        sentences: examples.len(),
        loss: sum / tokens.max(1) as f64,
        f1: micro.f1,
        precision: micro.precision,
        recall: micro.recall,
    })
}

/// BIO tags of `words` words from generated ids, aligned by order as the reference does.
fn bio_tags(codec: &SentT, ids: &[i64], words: usize) -> Result<Vec<String>, SentTError> {
    let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
    Ok(fit_to_length(sbio_to_bio(&codec.decode_tags(&ids)?), words))
}
