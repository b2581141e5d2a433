//! One update of the parameters: the gradients of the parts of a batch, clipping, AdamW, and failures.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::error::{BatchName, TrainError};
use crate::config::TrainingConfig;
use crate::data::Example;
use crate::model::{Learner, ModelError};
use crate::optimizer::AdamW;
use crate::parallel::{Group, share};
use crate::seeds::mixed;

/// The batch of an update.
pub(super) struct StepBatch<'a> {
    /// Name of the task.
    pub(super) task: &'a str,
    pub(super) examples: &'a [&'a Example],
    /// The seed of the training.
    pub(super) seed: u64,
    /// The number of the update, from 1.
    pub(super) step: u64,
}

/// The result of an update.
pub(super) struct Update {
    /// The label-smoothed loss in nats, summed over the targets of the batch.
    pub(super) loss: f64,
    /// The number of targets of the batch.
    pub(super) tokens: i64,
    /// The global norm of the gradient before clipping; NaN if the loss is not finite.
    pub(super) grad_norm: f64,
}

/// The loss of a part of a batch.
#[derive(Clone, Default, Serialize, Deserialize)]
struct PartLoss {
    /// In nats, summed over the targets.
    sum: f64,
    /// The number of targets.
    tokens: i64,
    /// For each trainable tensor whether it has a gradient; empty if the batch has one part.
    reached: Vec<bool>,
}

/// Computes the gradients of the parts of a batch, shared by the processes of `group`, and updates the parameters. If the loss
/// or the gradient is not finite, no parameter changes.
pub(super) fn update(
    learner: &mut dyn Learner,
    optimizer: &mut AdamW,
    batch: &StepBatch,
    settings: &TrainingConfig,
    learning_rate: f64,
    group: &Group,
) -> Result<Update, TrainError> {
    let losses = match settings.parts {
        1 => vec![part_loss(learner, batch, settings, 0)?],
        _ => add_parts(learner, batch, settings, group)?,
    };
    let loss = losses.iter().map(|part| part.sum).sum::<f64>();
    let tokens = losses.iter().map(|part| part.tokens).sum();
    if !loss.is_finite() {
        learner.parameters_mut().clear_gradients();
        return Ok(Update { loss, tokens, grad_norm: f64::NAN });
    }
    let grad_norm = optimizer.step(learner.parameters_mut(), learning_rate, settings.max_grad_norm);
    Ok(Update { loss, tokens, grad_norm })
}

/// Computes the gradient of each part on its own and sets the gradient to their sum in the order of the parts. Returns the
/// losses of all parts. If one is not finite, there is no gradient.
fn add_parts(
    learner: &mut dyn Learner,
    batch: &StepBatch,
    settings: &TrainingConfig,
    group: &Group,
) -> Result<Vec<PartLoss>, TrainError> {
    let (mut gradients, mut losses) = (Vec::new(), Vec::new());
    for part in share(group.rank(), group.size(), settings.parts) {
        let loss = part_loss(learner, batch, settings, part)?;
        let (gradient, reached) = learner.parameters_mut().take_gradients();
        gradients.push(gradient);
        losses.push(PartLoss { reached, ..loss });
    }
    let losses: Vec<PartLoss> = group.gather(losses)?.into_iter().flatten().collect();
    if losses.iter().all(|part| part.sum.is_finite()) {
        let sum = group.sum_of_parts(gradients);
        let reached: Vec<bool> = (0..losses[0].reached.len())
            .map(|tensor| losses.iter().any(|part| part.reached[tensor]))
            .collect();
        learner.parameters_mut().set_gradients(&sum, &reached);
    }
    Ok(losses)
}

/// Adds the gradient of part `part` of the batch, which has the scale and the dropout of this part.
fn part_loss(
    learner: &mut dyn Learner,
    batch: &StepBatch,
    settings: &TrainingConfig,
    part: usize,
) -> Result<PartLoss, ModelError> {
    tch::manual_seed(mixed(batch.seed, batch.step, part as u64) as i64);
    let scale = learner.loss_scale(batch.examples);
    let examples = &batch.examples[share(part, settings.parts, batch.examples.len())];
    let (mut sum, mut tokens) = (0.0, 0);
    for piece in examples.chunks(examples.len().div_ceil(settings.gradient_accumulation)) {
        let loss = learner.loss(batch.task, piece, settings.label_smoothing, true)?;
        sum += loss.sum;
        tokens += loss.tokens;
        learner.parameters_mut().backward(&(loss.surrogate * scale));
    }
    Ok(PartLoss { sum, tokens, reached: Vec::new() })
}

/// Runs `work` and returns a panic as an error, without its message on stderr.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result
}

/// The error for a panic of tch, whose message has the reason in its first line and a trace in the others.
pub(super) fn step_error(step: u64, batch: BatchName, panic: &(dyn std::any::Any + Send)) -> TrainError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("libtorch failed");
    let lines = text.lines().map(str::trim).find(|line| !line.is_empty());
    let reason = lines
        .unwrap_or("libtorch failed")
        .trim_start_matches("called `Result::unwrap()` on an `Err` value: ");
    let memory =
        ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|m| text.contains(m));
    let hint = match memory {
        true => {
            "\nhint: a higher `training.gradient_accumulation` computes the same step in smaller parts; the state before this step is saved"
        }
        false => "",
    };
    TrainError::Step { step, batch, reason: reason.to_owned(), hint }
}
