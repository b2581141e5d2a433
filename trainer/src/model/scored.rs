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

/// The log-probability of each class of `chosen` `[n]` by the softmax over `logits` `[n, classes]`, divided by each of
/// `temperatures`: `[temperature][n]`, in nats.
pub(super) fn log_probabilities(logits: &Tensor, chosen: &Tensor, temperatures: &[f64]) -> Vec<Vec<f32>> {
    let (logits, chosen) = (logits.to_kind(Kind::Float), chosen.unsqueeze(1));
    let of_chosen = |temperature: &f64| {
        let all = (&logits / *temperature).log_softmax(-1, Kind::Float);
        numbers(&all.gather(-1, &chosen, false))
    };
    temperatures.iter().map(of_chosen).collect()
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
            let found = log_probabilities(&logits, &Tensor::from_slice(&[1_i64, 0]), &[1.0, 2.0]);
            for (found, temperature) in found.iter().zip([1.0_f64, 2.0]) {
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
