//! Predicted tags with their scores.

use hyperloader_core::text::scores::Score;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The predicted tags of an example, scored at several temperatures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The BIO tags as `hl-run` gives them, one per word.
    pub tags: Vec<String>,
    /// The scores at each temperature.
    pub at: Vec<ExampleScores>,
}

/// The scores of an example's tags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleScores {
    /// The score of the model's whole output.
    pub example: Score,
    /// The score of each word's tag.
    pub tags: Vec<Score>,
    /// The score of each word on its own. That of a span is the product over its words.
    pub words: Vec<Score>,
}

/// The number of rows whose numbers stay in a cache of the processor while all temperatures are computed.
const ROWS: i64 = 16;

/// The log-probability of each class of `chosen` `[n]` by the softmax over `logits` `[n, classes]`, divided by each of
/// `temperatures`: `[temperature][n]`, in nats.
pub(super) fn log_probabilities(logits: &Tensor, chosen: &Tensor, temperatures: &[f64]) -> Vec<Vec<f32>> {
    let count = chosen.size()[0];
    let mut all = vec![Vec::with_capacity(count as usize); temperatures.len()];
    let mut order: Vec<usize> = (0..temperatures.len()).collect();
    order.sort_by(|a, b| temperatures[*b].total_cmp(&temperatures[*a]));
    for start in (0..count).step_by(ROWS as usize) {
        let rows = ROWS.min(count - start);
        let logits = logits.narrow(0, start, rows).to_kind(Kind::Float);
        let below = &logits - logits.amax([-1_i64], true);
        let of_chosen = below.gather(-1, &chosen.narrow(0, start, rows).unsqueeze(1), false).squeeze_dim(1);
        let mut powers = Powers::new(&below);
        for at in &order {
            let temperature = temperatures[*at];
            let sum = powers.at(temperature).sum_dim_intlist([-1_i64].as_slice(), false, None);
            all[*at].extend(numbers(&(&of_chosen / temperature - sum.log())));
        }
    }
    all
}

/// `exp(x / temperature)` of the same numbers at descending temperatures.
struct Powers<'a> {
    x: &'a Tensor,
    known: Vec<(f64, Tensor)>,
}

impl<'a> Powers<'a> {
    fn new(x: &'a Tensor) -> Self {
        Self { x, known: Vec::new() }
    }

    /// At half of a temperature the powers are squares, which cost a fraction of an exponential.
    fn at(&mut self, temperature: f64) -> &Tensor {
        let double = self.known.iter().position(|(known, _)| *known == 2.0 * temperature);
        let powers = match double {
            Some(at) => self.known.swap_remove(at).1.square_(),
            None => (self.x / temperature).exp_(),
        };
        self.known.push((temperature, powers));
        &self.known[self.known.len() - 1].1
    }
}

/// The elements of a tensor of float32.
fn numbers(tensor: &Tensor) -> Vec<f32> {
    let mut numbers = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut numbers, tensor.numel());
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_the_softmax_also_where_logits_are_large() {
        for shift in [0.0, 1e4] {
            let logits = Tensor::from_slice(&[1.0_f32, 3.0, 2.0, 0.0, -1.0, 4.0]).reshape([2, 3]) + shift;
            let temperatures = [1.0, 0.7, 2.0, 0.5];
            let found = log_probabilities(&logits, &Tensor::from_slice(&[1_i64, 0]), &temperatures);
            for (found, temperature) in found.iter().zip(temperatures) {
                let softmax = |row: [f64; 3], at: usize| {
                    let powers = row.map(|logit| (logit / temperature).exp());
                    powers[at] / powers.iter().sum::<f64>()
                };
                let expected = [softmax([1.0, 3.0, 2.0], 1), softmax([0.0, -1.0, 4.0], 0)];
                for (found, expected) in found.iter().zip(expected) {
                    assert!((f64::from(*found) - expected.ln()).abs() < 2e-3, "{found} {expected}");
                }
            }
        }
    }
}
