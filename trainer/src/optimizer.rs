//! AdamW as in transformers 3.5.1, with clipping by the global norm (docs/reference/training.md#optimizer,
//! docs/reference/training.md#gradient-clipping).

use std::ops::Range;

use hyperloader_core::weights::tensors::Tensors;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use crate::parameters::{MissingTensor, Parameter, Parameters, to_device, to_host};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
/// Added to the square root of the second moment, before the bias correction.
const EPSILON: f64 = 1e-8;

/// How an update treats a tensor that the loss of the batch does not depend on, such as the embedding of another task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AbsentGradient {
    /// The tensor does not change.
    Skip,
    /// After its first gradient, an absent gradient counts as 0, so momentum still moves the tensor. The authors' code does
    /// this under PyTorch 1.7, whose `zero_grad` sets gradients to 0 instead of removing them.
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

/// The state of the optimizer in main memory: moments by tensor name, and counts of updates.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    /// The running mean of the gradient.
    pub first: Tensors,
    /// The running mean of the squared gradient.
    pub second: Tensors,
    /// The number of updates of each tensor, in the order of the names.
    pub updates: Vec<u64>,
}

/// Name of the counts in [`OptimizerState::into_tensors`].
const UPDATES: &str = "updates";

impl OptimizerState {
    /// The state as one set of named tensors, for a file. Counts are exact as float32 up to 2^24 updates.
    pub fn into_tensors(self) -> Tensors {
        let named = |prefix: &'static str, tensors: Tensors| {
            tensors.into_iter().map(move |(name, tensor)| (format!("{prefix}.{name}"), tensor))
        };
        let updates = self.updates.iter().map(|n| *n as f32).collect();
        let updates = ndarray::Array1::from_vec(updates).into_dyn();
        let moments = named("first", self.first).chain(named("second", self.second));
        moments.chain([(UPDATES.to_owned(), updates)]).collect()
    }

    /// The inverse of [`OptimizerState::into_tensors`]. [`AdamW::restore`] checks whether the state is complete.
    pub fn from_tensors(tensors: Tensors) -> Self {
        let mut state = Self { first: Tensors::new(), second: Tensors::new(), updates: Vec::new() };
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix("first.") {
                state.first.insert(name.to_owned(), tensor);
            } else if let Some(name) = name.strip_prefix("second.") {
                state.second.insert(name.to_owned(), tensor);
            } else if name == UPDATES {
                state.updates = tensor.iter().map(|n| *n as u64).collect();
            }
        }
        state
    }
}

impl AdamW {
    /// An optimizer of `parameters` before its first update.
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

    /// Updates `parameters` with their gradients, then removes the gradients. Gradients are first scaled down to a global
    /// norm of at most `max_norm`. Returns the norm before that; if it is not finite, no value changes.
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

    /// The number of updates of each tensor, in the order of the names.
    pub fn updates(&self) -> &[u64] {
        &self.updates
    }

    /// Counts this update for each tensor that it changes, and returns the ranges of these tensors; adjacent tensors with
    /// equal counts share a range.
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

    /// A copy of the state, on which the next update depends besides the parameters.
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

    /// Restores a state that [`AdamW::state`] returned for the same parameters.
    ///
    /// # Errors
    /// If a tensor of `parameters` is missing in it or has another shape; nothing is changed then.
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;
    use tch::Device;

    fn parameters() -> Parameters {
        let tensors = Tensors::from([
            ("a".to_owned(), arr1(&[1.0, -2.0]).into_dyn()),
            ("b".to_owned(), arr1(&[0.5]).into_dyn()),
            ("c".to_owned(), arr1(&[3.0, 4.0, 5.0]).into_dyn()),
        ]);
        Parameters::from_tensors(&tensors, Device::Cpu).to_kind(Kind::Double)
    }

    /// The gradient of the sum of squares of the tensors named.
    fn backward(parameters: &mut Parameters, names: &[&str]) {
        let sum: Tensor = names.iter().map(|n| parameters.get(n).unwrap().square().sum(None)).sum();
        parameters.backward(&sum);
    }

    fn values(parameters: &Parameters) -> Vec<f64> {
        Vec::try_from(parameters.flat().0).unwrap()
    }

    /// AdamW for one element, by its definition.
    #[derive(Clone)]
    struct Element {
        x: f64,
        m: f64,
        v: f64,
        t: i32,
    }

    impl Element {
        fn step(&mut self, gradient: f64, rate: f64, decay: f64) {
            self.t += 1;
            self.m = 0.9 * self.m + 0.1 * gradient;
            self.v = 0.999 * self.v + 0.001 * gradient * gradient;
            let size = rate * (1.0 - 0.999_f64.powi(self.t)).sqrt() / (1.0 - 0.9_f64.powi(self.t));
            self.x -= size * self.m / (self.v.sqrt() + 1e-8);
            self.x -= rate * decay * self.x;
        }
    }

    /// Runs the same steps through [`AdamW`] and element by element: `a` and `c` always, `b` on every third step.
    fn compare(absent: AbsentGradient, decay: f64, max_norm: f64) {
        let mut parameters = parameters();
        let mut optimizer = AdamW::new(&parameters, decay, absent);
        let mut elements: Vec<Element> =
            values(&parameters).into_iter().map(|x| Element { x, m: 0.0, v: 0.0, t: 0 }).collect();
        for step in 0..8 {
            let with_b = step % 3 == 1;
            backward(&mut parameters, if with_b { &["a", "b", "c"] } else { &["a", "c"] });
            let gradient = |i: usize, e: &Element| if i == 2 && !with_b { 0.0 } else { 2.0 * e.x };
            let squares = elements.iter().enumerate().map(|(i, e)| gradient(i, e).powi(2)).sum::<f64>();
            let rate = 0.01 * f64::from(step);
            let norm = optimizer.step(&mut parameters, rate, max_norm);
            assert!((norm - squares.sqrt()).abs() < 1e-12);
            let clip = (max_norm / (norm + 1e-6)).min(1.0);
            for (i, element) in elements.iter_mut().enumerate() {
                let goes_on = absent == AbsentGradient::Decay && element.t > 0;
                if i != 2 || with_b || goes_on {
                    element.step(gradient(i, element) * clip, rate, decay);
                }
            }
            for (got, want) in values(&parameters).iter().zip(&elements) {
                assert!((got - want.x).abs() < 1e-12, "step {step}: {got} {}", want.x);
            }
        }
        let counts: Vec<u64> = [0, 2, 3].map(|i: usize| elements[i].t as u64).to_vec();
        assert_eq!(optimizer.updates(), counts);
    }

    #[test]
    fn updates_are_those_of_the_formula_for_each_element() {
        for absent in [AbsentGradient::Skip, AbsentGradient::Decay] {
            for (decay, max_norm) in [(0.0, 1.0), (0.1, 1.0), (0.0, 1e9)] {
                compare(absent, decay, max_norm);
            }
        }
    }

    #[test]
    fn a_restored_optimiser_goes_on_as_the_first_would_have() {
        let (mut parameters, mut copy) = (parameters(), parameters());
        let mut optimizer = AdamW::new(&parameters, 0.0, AbsentGradient::Skip);
        backward(&mut parameters, &["a", "b", "c"]);
        optimizer.step(&mut parameters, 0.0, 1.0);
        let state = optimizer.state(&parameters);
        let mut again = AdamW::new(&copy, 0.0, AbsentGradient::Skip);
        again.restore(&copy, &state).unwrap();
        assert_eq!(again.state(&copy), state);
        assert_eq!(OptimizerState::from_tensors(state.clone().into_tensors()), state);
        for (optimizer, parameters) in [(&mut optimizer, &mut parameters), (&mut again, &mut copy)] {
            backward(parameters, &["a", "c"]);
            optimizer.step(parameters, 0.1, 1.0);
        }
        // The state is float32, the values float64.
        for (a, b) in values(&parameters).iter().zip(values(&copy)) {
            assert!((a - b).abs() < 1e-6);
        }
        let mut incomplete = state;
        incomplete.second.remove("b");
        assert_eq!(
            again.restore(&copy, &incomplete).unwrap_err().to_string(),
            "trainable tensor `b` is missing"
        );
    }

    #[test]
    fn a_norm_that_is_not_finite_moves_nothing() {
        let mut parameters = parameters();
        let before = values(&parameters);
        let mut optimizer = AdamW::new(&parameters, 0.0, AbsentGradient::Skip);
        let infinite = parameters.get("a").unwrap().sum(None) * f64::INFINITY;
        parameters.backward(&infinite);
        assert!(!optimizer.step(&mut parameters, 0.1, 1.0).is_finite());
        assert_eq!(values(&parameters), before);
        assert_eq!(optimizer.updates(), [0, 0, 0]);
    }
}
