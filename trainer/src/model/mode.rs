//! Training or evaluation: whether dropout is applied.

use tch::Tensor;

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
            Mode::Training { dropout } if self.drops() => x.dropout(dropout, true),
            _ => x,
        }
    }
}
