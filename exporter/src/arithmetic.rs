//! The functions of T5, BERT and their adapters that are not matrix products, in float64.

use hyperloader_core::weights::task::Activation;
use ndarray::{Array2, ArrayView1};

/// LayerNorm of each row with biased variance: `(x - mean) / sqrt(variance + eps) * gamma + beta`.
pub(crate) fn layer_norm(
    x: &mut Array2<f64>,
    gamma: &ArrayView1<'_, f64>,
    beta: &ArrayView1<'_, f64>,
    eps: f64,
) {
    let width = x.ncols() as f64;
    for mut row in x.outer_iter_mut() {
        let mean = row.sum() / width;
        let variance = row.fold(0.0, |sum, x| sum + (x - mean).powi(2)) / width;
        let deviation = (variance + eps).sqrt();
        row.mapv_inplace(|x| (x - mean) / deviation);
        row *= gamma;
        row += beta;
    }
}

/// T5's norm of each row: `x / sqrt(mean(x²) + eps) * gamma`, without mean or shift (Raffel et al. 2020, section 2.1).
pub(crate) fn rms_norm(x: &mut Array2<f64>, gamma: &ArrayView1<'_, f64>, eps: f64) {
    let width = x.ncols() as f64;
    for mut row in x.outer_iter_mut() {
        let mean_square = row.fold(0.0, |sum, x| sum + x * x) / width;
        let scale = (mean_square + eps).sqrt().recip();
        row.mapv_inplace(|x| x * scale);
        row *= gamma;
    }
}

/// Softmax of each row.
pub(crate) fn softmax(x: &mut Array2<f64>) {
    for mut row in x.outer_iter_mut() {
        let maximum = row.fold(f64::NEG_INFINITY, |m, x| m.max(*x));
        row.mapv_inplace(|x| (x - maximum).exp());
        let sum = row.sum();
        row.mapv_inplace(|x| x / sum);
    }
}

/// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))` (`docs/reference/hyperloader.md#t5-block-with-task-weights`).
fn gelu_new(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}

/// `x (1 + erf(x / sqrt(2))) / 2`: the gelu of BERT.
pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// The error function, as the series whose terms have the same sign (Abramowitz and Stegun 1964, 7.1.6).
fn erf(x: f64) -> f64 {
    // Beyond 6, the error function is 1 in float64.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = 0.0_f64;
    let mut odd = 1.0;
    while term.abs() > sum.abs() * f64::EPSILON / 4.0 {
        sum += term;
        odd += 2.0;
        term *= 2.0 * x * x / odd;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// The non-linearity of an adapter or of a feed-forward layer.
pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::GeluNew => gelu_new(x),
        Activation::Gelu => gelu(x),
        Activation::Swish => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
    }
}

/// Index of the largest value; of equal values the first.
pub(crate) fn argmax(values: &ArrayView1<'_, f64>) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_has_its_published_values() {
        // Abramowitz and Stegun 1964, table 7.1.
        for (x, value) in
            [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0), (7.0, 1.0)]
        {
            assert!((erf(x) - value).abs() < 1e-10 && (erf(-x) + value).abs() < 1e-10, "{x}: {}", erf(x));
        }
        assert!((erf(5.9) - 1.0).abs() < 1e-15 && erf(5.9) <= 1.0 + f64::EPSILON);
        assert!(gelu(f64::NAN).is_nan());
    }
}
