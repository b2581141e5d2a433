//! The tolerated difference of two logits.

use std::fmt;

use ndarray::ArrayView1;
use serde::Serialize;

/// The tolerated difference of two logits: `atol + rtol * max |logit|` of the row. The rounding error of float32 grows
/// with the logits, so that an absolute tolerance alone would refuse models with large ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// Absolute tolerance.
    pub atol: f64,
    /// Tolerance relative to the largest magnitude of a row's logits.
    pub rtol: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { atol: 1e-4, rtol: 1e-5 }
    }
}

impl Tolerance {
    /// The limit for the logits of a row.
    pub(crate) fn limit(&self, row: &ArrayView1<'_, f64>) -> f64 {
        self.atol + self.rtol * largest_magnitude(row)
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0e} + {:.0e} x the largest logit of the row", self.atol, self.rtol)
    }
}

/// The largest magnitude of finite values; 0 for an empty row.
pub(crate) fn largest_magnitude(row: &ArrayView1<'_, f64>) -> f64 {
    row.iter().map(|x| x.abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)
}
