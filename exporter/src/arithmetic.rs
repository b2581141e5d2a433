//! The few functions of a T5 and its adapters that are not matrix products, in float64.

use hyperloader_core::task_weights::Activation;
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

/// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))` (reference section 1.4).
pub(crate) fn gelu_new(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}

/// An adapter's non-linearity.
pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::GeluNew => gelu_new(x),
        Activation::Swish => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
    }
}

/// Index of the largest value; of equal ones the first.
pub(crate) fn argmax(values: &ArrayView1<'_, f64>) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
