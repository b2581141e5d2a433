//! The summed label-smoothed cross entropy of decoder states (docs/reference/training.md#loss).
//!
//! The logits of a batch are by far the largest tensor of a training step, and automatic differentiation would keep
//! several copies of them. This module computes the logits of a few rows at a time, turns them into the gradient with
//! respect to the states, and discards them.

use std::cell::RefCell;

use tch::{Kind, Tensor, no_grad};

use crate::linear::product;

/// The number of logits in memory at a time (64 MiB of float32).
const BLOCK: i64 = 1 << 24;

/// The output layer, `scale * h W^T` of states h. A frozen matrix W may have a lower precision than the states.
#[derive(Debug)]
pub struct Head {
    matrix: Tensor,
    scale: f64,
    /// The sum of the rows of a frozen matrix, float64 `[d_model]`.
    column_sum: Option<Tensor>,
    block: RefCell<Tensor>,
}

/// The loss of a batch.
#[derive(Debug)]
pub struct StepLoss {
    /// Summed over the target tokens, in nats.
    pub sum: f64,
    /// The number of target tokens that are not padding.
    pub tokens: i64,
    /// A scalar whose backward pass gives the gradient of `sum`. Its value has no meaning; it is 0 without gradients.
    pub surrogate: Tensor,
}

/// The label-smoothed loss per token, in nats, of a perfect model: 1.36279 for a smoothing of 0.1 and 32,128 classes
/// (docs/reference/training.md#loss).
pub fn smoothing_floor(label_smoothing: f64, vocab_size: usize) -> f64 {
    let each = label_smoothing / vocab_size as f64;
    let target = 1.0 - label_smoothing + each;
    let entropy = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    entropy(target) + (vocab_size as f64 - 1.0) * entropy(each)
}

impl Head {
    /// An output layer with the matrix `[vocab_size, d_model]`.
    pub fn new(matrix: Tensor, scale: f64) -> Self {
        let column_sum = (!matrix.requires_grad()).then(|| column_sum(&matrix));
        let block = RefCell::new(Tensor::zeros([0], (matrix.kind(), matrix.device())));
        Self { matrix, scale, column_sum, block }
    }

    /// Logits `[.., vocab_size]` of states `[.., d_model]`.
    pub fn logits(&self, states: &Tensor) -> Tensor {
        let scaled = if self.scale == 1.0 { states.shallow_clone() } else { states * self.scale };
        product(&scaled, &self.matrix)
    }

    /// The most likely of `ids` `[ids]` for each of `states` `[rows, d_model]`: `[rows]`.
    pub fn likeliest(&self, states: &Tensor, ids: &Tensor) -> Tensor {
        let rows = self.matrix.index_select(0, ids);
        ids.index_select(0, &product(states, &rows).argmax(-1, false))
    }

    /// The sum over rows of `(1 - e) * nll + e / V * sum_v(-log p_v)` for states `[rows, d_model]` and the ids
    /// `targets` `[rows]`, where e is `label_smoothing` and V the size of the vocabulary.
    pub fn label_smoothed(&self, states: &Tensor, targets: &Tensor, label_smoothing: f64) -> StepLoss {
        self.loss(states, targets, label_smoothing, &mut |_| {})
    }

    /// [`Head::label_smoothed`], and the most likely id of each row, int64 `[rows]`, from the same logits.
    pub fn label_smoothed_and_likeliest(
        &self,
        states: &Tensor,
        targets: &Tensor,
        label_smoothing: f64,
    ) -> (StepLoss, Tensor) {
        let mut likeliest = Vec::new();
        let loss = self.loss(states, targets, label_smoothing, &mut |logits| {
            likeliest.push(logits.argmax(-1, false));
        });
        (loss, Tensor::cat(&likeliest, 0))
    }

    /// The most likely id of each of `states` `[rows, d_model]`, int64 `[rows]`.
    pub fn likeliest_ids(&self, states: &Tensor) -> Tensor {
        let (rows, height) = (states.size()[0], self.block_rows());
        let of_block =
            |start| self.logits(&states.narrow(0, start, height.min(rows - start))).argmax(-1, false);
        Tensor::cat(&(0..rows).step_by(height as usize).map(of_block).collect::<Vec<_>>(), 0)
    }

    /// `observe` is called with the logits of some rows after another, `[some, vocab_size]`.
    fn loss(
        &self,
        states: &Tensor,
        targets: &Tensor,
        label_smoothing: f64,
        observe: &mut dyn FnMut(&Tensor),
    ) -> StepLoss {
        let (sum, gradients) = no_grad(|| {
            let scaled = states.detach() * self.scale;
            let expected = self.expected_rows(targets, label_smoothing);
            // The smoothed target is a fixed mixture of the matrix's rows: the loss of a row is lse - h . expected.
            let linear = (scaled.to_kind(Kind::Double) * &expected).sum(Kind::Double);
            let mut softmax = self.softmax((&scaled, targets), states.requires_grad(), observe);
            let sum = softmax.log_partition - linear.double_value(&[]);
            let gradients = softmax.predicted.take().map(|predicted| {
                let of_states = (predicted - expected.to_kind(scaled.kind())) * self.scale;
                let of_matrix = softmax.transposed.take().map(|mut transposed| {
                    let _ = transposed.index_add_(0, targets, &(&scaled * (label_smoothing - 1.0)));
                    let share = label_smoothing / self.vocab_size() as f64;
                    transposed - scaled.sum_dim_intlist([0_i64].as_slice(), true, None) * share
                });
                (of_states, of_matrix)
            });
            (sum, gradients)
        });
        StepLoss { sum, tokens: targets.numel() as i64, surrogate: self.surrogate(states, gradients) }
    }

    fn vocab_size(&self) -> i64 {
        self.matrix.size()[0]
    }

    /// The number of rows whose logits are in memory at a time.
    fn block_rows(&self) -> i64 {
        (BLOCK / self.vocab_size()).max(1)
    }

    /// `(1 - e) * W[target] + e / V * sum_v W[v]` for each target, float64 `[rows, d_model]`.
    fn expected_rows(&self, targets: &Tensor, label_smoothing: f64) -> Tensor {
        let rows = self.matrix.index_select(0, targets).to_kind(Kind::Double);
        let all = match &self.column_sum {
            Some(sum) => sum.shallow_clone(),
            None => column_sum(&self.matrix),
        };
        rows * (1.0 - label_smoothing) + all * (label_smoothing / self.vocab_size() as f64)
    }

    /// Computes the softmax of the logits of `scaled` `[rows, d_model]` in blocks of rows.
    fn softmax(
        &self,
        (scaled, targets): (&Tensor, &Tensor),
        gradients: bool,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Softmax {
        let (rows, vocab) = (scaled.size()[0], self.vocab_size());
        let height = self.block_rows().min(rows.max(1));
        let mut block = self.block.borrow_mut();
        if block.numel() < (height * vocab) as usize {
            *block = Tensor::zeros([height, vocab], (scaled.kind(), scaled.device()));
        }
        let mut result = Softmax {
            log_partition: 0.0,
            predicted: gradients.then(|| scaled.empty_like()),
            transposed: (gradients && self.matrix.requires_grad()).then(|| self.matrix.zeros_like()),
        };
        // Products have the precision of the matrix; everything else has that of the states.
        let (low, high) = (self.matrix.kind(), scaled.kind());
        for start in (0..rows).step_by(height as usize) {
            let length = height.min(rows - start);
            let states = scaled.narrow(0, start, length);
            let mut logits = block.narrow(0, 0, length);
            if low == high {
                let _ = states.mm_out(&logits, &self.matrix.tr());
            } else {
                logits.copy_(&states.to_kind(low).mm(&self.matrix.tr()));
            }
            observe(&logits);
            let wanted = targets.narrow(0, start, length).unsqueeze(1);
            let of_target = logits.gather(1, &wanted, false).to_kind(Kind::Double);
            let probabilities = logits.internal_softmax_out(&logits, 1, false);
            let probability = probabilities.gather(1, &wanted, false).to_kind(Kind::Double);
            let mut partition = (of_target - probability.log()).squeeze_dim(1);
            // The probability of a very unlikely target has no exact logarithm: float32 has lost it.
            let lost = probability.lt(1e-30).squeeze_dim(1).nonzero().squeeze_dim(1);
            if lost.numel() > 0 {
                let logits = product(&states.index_select(0, &lost), &self.matrix).to_kind(Kind::Double);
                let exact = logits.logsumexp([1_i64].as_slice(), false);
                let _ = partition.index_copy_(0, &lost, &exact);
            }
            result.log_partition += partition.sum(Kind::Double).double_value(&[]);
            if let Some(predicted) = &result.predicted {
                let mut predicted = predicted.narrow(0, start, length);
                if low == high {
                    let _ = probabilities.mm_out(&predicted, &self.matrix);
                } else {
                    predicted.copy_(&probabilities.to_kind(low).mm(&self.matrix));
                }
            }
            if let Some(transposed) = &mut result.transposed {
                let _ = transposed.addmm_(&probabilities.tr(), &states);
            }
        }
        result
    }

    fn surrogate(&self, states: &Tensor, gradients: Option<(Tensor, Option<Tensor>)>) -> Tensor {
        let Some((of_states, of_matrix)) = gradients else {
            return Tensor::zeros([0_i64; 0], (states.kind(), states.device()));
        };
        let sum = (states * of_states).sum(None);
        match of_matrix {
            None => sum,
            Some(of_matrix) => sum + (&self.matrix * of_matrix).sum(None),
        }
    }
}

/// The sums over all softmaxes that the loss needs.
struct Softmax {
    /// The sum over rows of the logarithm of the sum of exponentials.
    log_partition: f64,
    /// Probabilities times matrix, `[rows, d_model]`.
    predicted: Option<Tensor>,
    /// Transposed probabilities times scaled states, `[vocab_size, d_model]`, for a trainable matrix.
    transposed: Option<Tensor>,
}

fn column_sum(matrix: &Tensor) -> Tensor {
    no_grad(|| matrix.sum_dim_intlist([0_i64].as_slice(), false, Kind::Double))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The loss by its definition, in float64, with automatic differentiation.
    fn plain(states: &Tensor, matrix: &Tensor, scale: f64, targets: &Tensor, smoothing: f64) -> Tensor {
        let log = (states * scale).matmul(&matrix.tr()).log_softmax(-1, Kind::Double);
        let nll = -log.gather(1, &targets.unsqueeze(1), false).sum(Kind::Double);
        let uniform = -log.mean_dim([1_i64].as_slice(), false, Kind::Double).sum(Kind::Double);
        nll * (1.0 - smoothing) + uniform * smoothing
    }

    fn difference(got: &Tensor, want: &Tensor) -> f64 {
        let scale = want.abs().max().double_value(&[]).max(1e-30);
        (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]) / scale
    }

    #[test]
    fn value_and_both_gradients_are_those_of_the_definition() {
        tch::manual_seed(1);
        // With the last, the probabilities of some targets are too small for float32.
        for (rows, smoothing, scale, spread) in
            [(7, 0.1, 0.25, 1.0), (1, 0.0, 1.0, 9.0), (5, 0.3, 1.0, 0.0), (9, 0.1, 1.0, 60.0)]
        {
            let double = (Kind::Double, Device::Cpu);
            let states = (Tensor::randn([rows, 16], double) * spread).set_requires_grad(true);
            let matrix = Tensor::randn([40, 16], double).set_requires_grad(true);
            let targets = Tensor::randint(40, [rows], (Kind::Int64, Device::Cpu));
            let want = plain(&states, &matrix, scale, &targets, smoothing);
            let wanted = Tensor::run_backward(&[&want], &[&states, &matrix], false, false);

            let leaf = |t: &Tensor| t.detach().to_kind(Kind::Float).set_requires_grad(true);
            let (states, matrix) = (leaf(&states), leaf(&matrix));
            let head = Head::new(matrix.shallow_clone(), scale);
            let loss = head.label_smoothed(&states, &targets, smoothing);
            let got = Tensor::run_backward(&[&loss.surrogate], &[&states, &matrix], false, false);
            let want = want.double_value(&[]);
            assert!((loss.sum / want - 1.0).abs() < 1e-6, "{} {want}", loss.sum);
            assert_eq!(loss.tokens, rows);
            for (got, want) in got.iter().zip(&wanted) {
                assert!(difference(got, want) < 1e-5, "{}", difference(got, want));
            }

            let frozen = Head::new(matrix.detach(), scale);
            let again = frozen.label_smoothed(&states, &targets, smoothing);
            assert_eq!(again.sum, loss.sum);
            let of_states = Tensor::run_backward(&[&again.surrogate], &[&states], false, false);
            assert!(difference(&of_states[0], &wanted[0]) < 1e-5);
        }
    }

    #[test]
    fn a_frozen_matrix_of_lower_precision_gives_nearly_the_same_loss_and_gradient() {
        tch::manual_seed(3);
        let states = Tensor::randn([6, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let matrix = Tensor::randn([500, 64], (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        let targets = Tensor::randint(500, [6], (Kind::Int64, Device::Cpu));
        let losses = [matrix.to_kind(Kind::Float), matrix].map(|matrix| {
            let loss = Head::new(matrix, 0.25).label_smoothed(&states, &targets, 0.1);
            (loss.sum, Tensor::run_backward(&[&loss.surrogate], &[&states], false, false).remove(0))
        });
        let [(exact, gradient), (sum, nearly)] = losses;
        assert!((sum / exact - 1.0).abs() < 1e-2, "{sum} {exact}");
        assert!(difference(&nearly, &gradient.to_kind(Kind::Double)) < 3e-2);
    }

    #[test]
    fn more_rows_than_a_block_holds_give_the_sum_over_blocks() {
        let float = (Kind::Float, Device::Cpu);
        let vocab = BLOCK / 4;
        let matrix = Tensor::randn([vocab, 2], float);
        let head = Head::new(matrix, 1.0);
        let states = Tensor::randn([10, 2], float).set_requires_grad(true);
        let targets = Tensor::randint(vocab, [10], (Kind::Int64, Device::Cpu));
        let whole = head.label_smoothed(&states, &targets, 0.1);
        let parts = (0..10)
            .map(|row| head.label_smoothed(&states.narrow(0, row, 1), &targets.narrow(0, row, 1), 0.1).sum);
        assert!((whole.sum / parts.sum::<f64>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn without_gradients_the_surrogate_has_none() {
        let float = (Kind::Float, Device::Cpu);
        let head = Head::new(Tensor::randn([8, 4], float), 1.0);
        let targets = Tensor::zeros([3], (Kind::Int64, Device::Cpu));
        let loss = head.label_smoothed(&Tensor::randn([3, 4], float), &targets, 0.1);
        assert!(!loss.surrogate.requires_grad());
        assert!(loss.sum > 0.0);
    }

    #[test]
    fn the_floor_is_the_published_one() {
        assert!((smoothing_floor(0.1, 32_128) - 1.362_789_041_737_208_4).abs() < 1e-9);
        assert_eq!(smoothing_floor(0.0, 32_128), 0.0);
    }
}
