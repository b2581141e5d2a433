//! Trainable tensors and how they start.

/// How a trainable tensor starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `-bound..bound`.
    Uniform {
        /// Half the width of the interval.
        bound: f64,
    },
    /// The backbone's tensor of the same name.
    Backbone,
}

/// A tensor that training changes.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainableTensor {
    /// `hyper.*` (docs/reference/checkpoints.md#hypernetworks), `task.TASK.*` (docs/reference/checkpoints.md#task-modules),
    /// or Hugging Face's name for a tensor of the backbone.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Its value before the first update.
    pub init: Init,
}

/// Collects trainable tensors in the order in which they are created.
#[derive(Debug, Default)]
pub(super) struct TensorList(pub(super) Vec<TrainableTensor>);

impl TensorList {
    pub(super) fn add(&mut self, name: String, shape: &[usize], init: Init) {
        self.0.push(TrainableTensor { name, shape: shape.to_vec(), init });
    }

    /// A linear map whose bias starts at zero.
    pub(super) fn linear(&mut self, name: &str, [out, input]: [usize; 2], init: Init) {
        self.add(format!("{name}.weight"), &[out, input], init);
        self.add(format!("{name}.bias"), &[out], Init::Zeros);
    }

    /// A linear map that starts as in PyTorch: weight and bias within `1 / sqrt(input)`.
    pub(super) fn torch_linear(&mut self, name: &str, [out, input]: [usize; 2]) {
        let init = Init::Uniform { bound: kaiming(input) };
        self.add(format!("{name}.weight"), &[out, input], init);
        self.add(format!("{name}.bias"), &[out], init);
    }
}

/// Bound of Kaiming's uniform distribution with a = sqrt(5).
pub(super) fn kaiming(fan_in: usize) -> f64 {
    (fan_in as f64).powf(-0.5)
}
