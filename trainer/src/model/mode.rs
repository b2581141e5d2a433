//! Training or evaluation: whether dropout is applied.

use tch::{Device, Kind, Tensor};

/// Whether dropout is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Dropout is applied.
    Training {
        /// The probability of dropping a value, from 0 to 1.
        dropout: f64,
    },
    /// No dropout: the same input gives the same output.
    Evaluation,
}

impl Mode {
    /// Whether any value can be dropped.
    pub(in crate::model) fn drops(self) -> bool {
        matches!(self, Mode::Training { dropout } if dropout > 0.0)
    }

    /// Dropout in training, nothing otherwise.
    pub(in crate::model) fn dropout(self, x: Tensor) -> Tensor {
        match self {
            Mode::Training { dropout } if self.drops() => dropped(&x, dropout),
            _ => x,
        }
    }
}

/// The number of values of the random numbers that decide what is dropped.
const LEVELS: i64 = 1 << 16;

/// Sets each value to zero with `probability` (on the CPU rounded to a multiple of 2^-16), and divides the others by the probability
/// of being kept.
fn dropped(x: &Tensor, probability: f64) -> Tensor {
    if x.device() != Device::Cpu {
        return x.dropout(probability, true);
    }
    // libtorch's dropout on the CPU draws its mask on one thread, at several times the cost of this one, and keeps it as
    // float32 for the backward pass.
    let threshold = (probability * LEVELS as f64).round() as i64;
    if threshold == LEVELS {
        return x * 0.0;
    }
    let mut kept = x * mask(x, threshold);
    kept.g_mul_scalar_(LEVELS as f64 / (LEVELS - threshold) as f64)
}

/// True, in the shape of `x`, with the probability `1 - threshold / LEVELS`.
fn mask(x: &Tensor, threshold: i64) -> Tensor {
    let count = x.numel() as i64;
    // Four numbers of 16 bits in each of 64.
    let numbers = Tensor::empty([(count + 3) / 4], (Kind::Int64, Device::Cpu)).random_from_(i64::MIN, None);
    let numbers = numbers.view_dtype(Kind::Int16).narrow(0, 0, count).view(x.size().as_slice());
    numbers.ge(threshold - LEVELS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_mean_at_every_place_and_its_gradient_is_its_factor() {
        tch::manual_seed(1);
        let x = Tensor::ones([25_000, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        for dropout in [0.1, 0.5, 0.97] {
            let y = Mode::Training { dropout }.dropout(x.shallow_clone());
            let means =
                Vec::<f64>::try_from(y.detach().mean_dim([0_i64].as_slice(), false, Kind::Double)).unwrap();
            // Five standard deviations of a mean.
            let bound = 5.0 * (dropout / (1.0 - dropout) / 25_000.0).sqrt();
            assert!(means.iter().all(|mean| (mean - 1.0).abs() < bound), "{dropout}: {means:?}");
            let gradient = Tensor::run_backward(&[y.sum(Kind::Float)], &[&x], false, false).remove(0);
            assert_eq!(gradient, y.detach());
        }
    }

    #[test]
    fn dropout_of_everything_is_zero_and_dropout_of_nothing_is_the_input() {
        let x = Tensor::randn([3, 5], (Kind::Float, Device::Cpu));
        assert_eq!(Mode::Training { dropout: 1.0 }.dropout(x.shallow_clone()), x.zeros_like());
        assert_eq!(Mode::Training { dropout: 0.0 }.dropout(x.shallow_clone()), x);
        assert_eq!(Mode::Evaluation.dropout(x.shallow_clone()), x);
    }
}
