//! Adapters that are generated for each input (`docs/reference/baselines.md#hyperdecoder`), in float64.

use hyperloader_core::weights::task::{Generator, Linear};
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Ix1, Ix2};

use super::states::States;
use crate::error::ModelError;
use crate::tensor::wide;

/// The result of a generator for a batch.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Mean of the encoder's output over each sentence's tokens, `[batch, d_model]`.
    pub pooled: Array2<f64>,
    /// Output of the first two linear maps, `[batch, d_model]`.
    pub processed: Array2<f64>,
    /// The adapters, indexed by block and then by sentence.
    pub adapters: Vec<Vec<GeneratedAdapter>>,
}

/// An adapter that computes `relu(x down + down_bias) up + up_bias`.
#[derive(Debug, Clone)]
pub struct GeneratedAdapter {
    /// Matrix to the bottleneck, `[d_model, bottleneck]`.
    pub down: Array2<f64>,
    /// Bias of the bottleneck, `[bottleneck]`.
    pub down_bias: Array1<f64>,
    /// Matrix from the bottleneck, `[bottleneck, d_model]`.
    pub up: Array2<f64>,
    /// Bias of the output, `[d_model]`.
    pub up_bias: Array1<f64>,
}

impl GeneratedAdapter {
    /// The adapter's output for `x` `[length, d_model]`.
    pub(crate) fn update(&self, x: &ArrayView2<'_, f64>) -> Array2<f64> {
        let hidden = (x.dot(&self.down) + &self.down_bias).mapv_into(|x| x.max(0.0));
        hidden.dot(&self.up) + &self.up_bias
    }
}

/// Runs `generator` on the encoder's output and the `attention_mask` `[batch, source_len]` that it was computed with.
///
/// # Errors
/// Returns an error if a tensor of the generator has a wrong shape.
pub fn generate(
    generator: &Generator<HostTensor>,
    encoded: &States,
    attention_mask: &Array2<i64>,
) -> Result<Generated, ModelError> {
    let width = wide::<Ix2>("generator.fc1", &generator.fc1.weight)?.ncols();
    let mut pooled = Array2::zeros((attention_mask.nrows(), width));
    for ((sentence, mask), mut mean) in attention_mask.outer_iter().enumerate().zip(pooled.outer_iter_mut()) {
        let mask = mask.mapv(|m| m as f64);
        mean.assign(&(mask.dot(&encoded.sentence(sentence)) / mask.sum()));
    }
    let hidden = affine(&pooled, &generator.fc1)?.mapv_into(|x| x.max(0.0));
    let processed = affine(&hidden, &generator.fc2)?;
    let shared = processed.dot(&wide::<Ix2>("generator.trunk", &generator.trunk)?.t());
    let mut adapters = Vec::new();
    for bias in &generator.block_biases {
        let hidden = (&shared + &wide::<Ix1>("generator.block_bias", bias)?).mapv_into(|x| x.max(0.0));
        let down = affine(&hidden, &generator.down_weight)?;
        let down_bias = affine(&hidden, &generator.down_bias)?;
        let up = affine(&hidden, &generator.up_weight)?;
        let up_bias = affine(&hidden, &generator.up_bias)?;
        let (d, b) = (up_bias.ncols(), down_bias.ncols());
        let adapter = |row: usize| {
            Ok(GeneratedAdapter {
                down: matrix(&down.row(row), [d, b])?,
                down_bias: down_bias.row(row).to_owned(),
                up: matrix(&up.row(row), [b, d])?,
                up_bias: up_bias.row(row).to_owned(),
            })
        };
        adapters.push((0..hidden.len_of(Axis(0))).map(adapter).collect::<Result<_, ModelError>>()?);
    }
    Ok(Generated { pooled, processed, adapters })
}

fn affine(x: &Array2<f64>, Linear { weight, bias }: &Linear<HostTensor>) -> Result<Array2<f64>, ModelError> {
    Ok(x.dot(&wide::<Ix2>("generator", weight)?.t()) + wide::<Ix1>("generator", bias)?)
}

fn matrix(row: &ArrayView1<'_, f64>, shape: [usize; 2]) -> Result<Array2<f64>, ModelError> {
    let (found, expected) = (vec![row.len()], shape.to_vec());
    Array2::from_shape_vec(shape, row.to_vec()).map_err(|_| ModelError::Shape {
        name: "output of the generator".to_owned(),
        found,
        expected,
    })
}
