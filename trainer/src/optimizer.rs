//! AdamW as transformers 3.5.1 has it, with clipping by the global norm (reference sections 3.3 and 8).

use std::ops::Range;

use hyperloader_core::tensors::Tensors;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use crate::hypernetwork::MissingTensor;
use crate::parameters::{Parameter, Parameters, to_device, to_host};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
/// Added to the root of the second moment, which is not corrected for its bias.
const EPSILON: f64 = 1e-8;

/// What an update does with a tensor that the batch's loss does not depend on: the embeddings of the other tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AbsentGradient {
    /// Leaves it as it is.
    Skip,
    /// Takes its gradient as 0 once it has had one, so that it goes on moving by momentum: what the reference
    /// implementation does under PyTorch 1.7, whose `zero_grad` zeroes gradients and does not remove them.
    Decay,
}

/// AdamW (Loshchilov and Hutter 2019).
#[derive(Debug)]
pub struct AdamW {
    weight_decay: f64,
    absent: AbsentGradient,
    first: Tensor,
    second: Tensor,
    updates: Vec<u64>,
}

/// Moments and counts of updates by the name of the tensor that they belong to, in main memory.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    /// Running mean of the gradient.
    pub first: Tensors,
    /// Running mean of its square.
    pub second: Tensors,
    /// Updates of each tensor, in the order of the names.
    pub updates: Vec<u64>,
}

impl AdamW {
    /// An optimiser of `parameters` that has done nothing yet.
    pub fn new(parameters: &Parameters, weight_decay: f64, absent: AbsentGradient) -> Self {
        let (values, _) = parameters.flat();
        Self {
            weight_decay,
            absent,
            first: values.zeros_like(),
            second: values.zeros_like(),
            updates: vec![0; parameters.iter().count()],
        }
    }

    /// One update from the gradients that `parameters` hold, which it then forgets. Gradients are scaled down to a
    /// global norm of at most `max_norm` first; the norm before that is returned. If it is not finite, nothing moves.
    pub fn step(&mut self, parameters: &mut Parameters, learning_rate: f64, max_norm: f64) -> f64 {
        let norm = no_grad(|| {
            let (values, gradient) = parameters.flat();
            let norm = gradient.norm_scalaropt_dtype(2, Kind::Double).double_value(&[]);
            if norm.is_finite() {
                let clip = (max_norm / (norm + 1e-6)).min(1.0);
                for (range, updates) in self.advance(parameters) {
                    self.update(values, gradient, range, updates, learning_rate, clip);
                }
            }
            norm
        });
        parameters.clear_gradients();
        norm
    }

    /// How often each tensor has been updated, in the order of the names.
    pub fn updates(&self) -> &[u64] {
        &self.updates
    }

    /// Counts this update for each tensor that takes part, and returns their ranges: neighbours with equal counts as
    /// one.
    fn advance(&mut self, parameters: &Parameters) -> Vec<(Range<i64>, u64)> {
        let mut runs: Vec<(Range<i64>, u64)> = Vec::new();
        for (parameter, updates) in parameters.iter().zip(&mut self.updates) {
            let goes_on = self.absent == AbsentGradient::Decay && *updates > 0;
            if !parameter.has_gradient && !goes_on {
                continue;
            }
            *updates += 1;
            let Range { start, end } = parameter.range;
            match runs.last_mut() {
                Some((run, count)) if run.end == start && *count == *updates => run.end = end,
                _ => runs.push((start..end, *updates)),
            }
        }
        runs
    }

    fn update(
        &self,
        values: &Tensor,
        gradient: &Tensor,
        Range { start, end }: Range<i64>,
        updates: u64,
        learning_rate: f64,
        clip: f64,
    ) {
        let part = |t: &Tensor| t.narrow(0, start, end - start);
        let gradient = part(gradient) * clip;
        let (mut values, mut first, mut second) = (part(values), part(&self.first), part(&self.second));
        let _ = first.g_mul_scalar_(BETA1).g_add_(&(&gradient * (1.0 - BETA1)));
        let _ = second.g_mul_scalar_(BETA2).g_add_(&(gradient.square() * (1.0 - BETA2)));
        let t = updates as f64;
        let rate = learning_rate * (1.0 - BETA2.powf(t)).sqrt() / (1.0 - BETA1.powf(t));
        let _ = values.g_add_(&(first / (second.sqrt() + EPSILON) * -rate));
        if self.weight_decay > 0.0 {
            let _ = values.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
        }
    }

    /// A copy of everything that the next update depends on besides the parameters.
    pub fn state(&self, parameters: &Parameters) -> OptimizerState {
        let named = |flat: &Tensor| {
            parameters
                .iter()
                .map(|p| {
                    let part = flat.narrow(0, p.range.start, p.range.end - p.range.start);
                    (p.name.clone(), to_host(&part.view(p.tensor.size().as_slice())))
                })
                .collect()
        };
        OptimizerState {
            first: named(&self.first),
            second: named(&self.second),
            updates: self.updates.clone(),
        }
    }

    /// Goes on from a state that [`AdamW::state`] gave for the same parameters.
    ///
    /// # Errors
    /// If it lacks a tensor of `parameters`, or has another shape; nothing is changed then.
    pub fn restore(&mut self, parameters: &Parameters, state: &OptimizerState) -> Result<(), MissingTensor> {
        let complete = |tensors: &Tensors| {
            let misfits = |p: &&Parameter| {
                let shape = tensors.get(&p.name).map(|t| t.shape().iter().map(|n| *n as i64).collect());
                shape != Some(p.tensor.size())
            };
            parameters.iter().find(misfits).map_or(Ok(()), |p| Err(MissingTensor(p.name.clone())))
        };
        complete(&state.first)?;
        complete(&state.second)?;
        for (flat, tensors) in [(&self.first, &state.first), (&self.second, &state.second)] {
            for p in parameters.iter() {
                let mut part = flat.narrow(0, p.range.start, p.range.end - p.range.start);
                part.copy_(&to_device(&tensors[&p.name], flat.device()).view(-1));
            }
        }
        self.updates.clone_from(&state.updates);
        self.updates.resize(parameters.iter().count(), 0);
        Ok(())
    }
}
