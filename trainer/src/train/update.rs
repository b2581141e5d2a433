//! One update of the parameters: the gradients of the parts of a batch, clipping, AdamW, and failures.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::{BatchName, TrainError};
use crate::config::TrainingConfig;
use crate::data::Example;
use crate::model::{Learner, ModelError};
use crate::optimizer::AdamW;

/// The result of an update.
pub(super) struct Update {
    /// The label-smoothed loss in nats, summed over the targets of the batch.
    pub(super) loss: f64,
    /// The number of targets of the batch.
    pub(super) tokens: i64,
    /// The global norm of the gradient before clipping; NaN if the loss is not finite.
    pub(super) grad_norm: f64,
}

/// Accumulates the gradients of the parts of a batch and updates the parameters. If the loss or the gradient is not finite, no
/// parameter changes.
pub(super) fn update(
    learner: &mut dyn Learner,
    optimizer: &mut AdamW,
    task: &str,
    examples: &[&Example],
    settings: &TrainingConfig,
    learning_rate: f64,
) -> Result<Update, ModelError> {
    let (mut loss, mut tokens) = (0.0, 0);
    let scale = learner.loss_scale(examples);
    for part in examples.chunks(examples.len().div_ceil(settings.gradient_accumulation)) {
        let part = learner.loss(task, part, settings.label_smoothing, true)?;
        loss += part.sum;
        tokens += part.tokens;
        learner.parameters_mut().backward(&(part.surrogate * scale));
    }
    if !loss.is_finite() {
        learner.parameters_mut().clear_gradients();
        return Ok(Update { loss, tokens, grad_norm: f64::NAN });
    }
    let grad_norm = optimizer.step(learner.parameters_mut(), learning_rate, settings.max_grad_norm);
    Ok(Update { loss, tokens, grad_norm })
}

/// The seed of the dropout of a step. SplitMix64 (Steele et al. 2014) maps similar steps and seeds to dissimilar values.
pub(super) fn step_seed(seed: u64, step: u64) -> i64 {
    let mut z = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as i64
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
