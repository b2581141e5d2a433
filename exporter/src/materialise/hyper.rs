//! HyperLoader, HyperFormer++ and HyperFormer: runs the hypernetworks once, for one task
//! (`docs/reference/hyperloader.md#embeddings-and-projector`, `docs/reference/hyperloader.md#hypernetwork-heads` and
//! `docs/reference/baselines.md#hyperformer-family`).

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::{AdapterHeads, HyperConfig, LoraConfig, Site, names};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{
    Activation, Adapter, BlockWeights, LayerNorm, Lora, Placement, TaskWeights,
};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array, Array1, Array2, Array3, ArrayView2, Axis, Dimension, IxDyn};

use super::{MaterialiseError, Materialises, wide};
use crate::arithmetic::layer_norm;

impl Materialises for HyperConfig {
    /// Adapters after self-attention and feed-forward layers, LoRA pairs on queries and values of self-attention and, in a
    /// decoder, cross-attention
    /// (`docs/reference/hyperloader.md#t5-block-with-task-weights`).
    fn task_weights(
        &self,
        shape: &BackboneShape,
        checkpoint: &Tensors,
        task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
        let mut weights = shape.no_weights();
        for stack in shape.stacks() {
            let blocks = weights.blocks_mut(stack);
            Hypernetwork::new(self, shape, checkpoint, stack).set_blocks(task, blocks)?;
        }
        Ok(weights)
    }
}

/// The input of the heads of a stack: the projector's normalized output for every block and position of `task`,
/// `[layers, positions, embed_dim]` (`docs/reference/hyperloader.md#embeddings-and-projector`). HyperFormer has one position.
///
/// # Errors
/// Returns an error if a tensor of `checkpoint` is missing or misshapen.
pub fn embeddings(
    config: &HyperConfig,
    shape: &BackboneShape,
    checkpoint: &Tensors,
    task: &str,
    stack: Stack,
) -> Result<Array3<f64>, MaterialiseError> {
    Hypernetwork::new(config, shape, checkpoint, stack).embeddings(task)
}

struct Hypernetwork<'a> {
    config: &'a HyperConfig,
    shape: &'a BackboneShape,
    checkpoint: &'a Tensors,
    stack: Stack,
}

impl<'a> Hypernetwork<'a> {
    fn new(config: &'a HyperConfig, shape: &'a BackboneShape, checkpoint: &'a Tensors, stack: Stack) -> Self {
        Self { config, shape, checkpoint, stack }
    }

    /// Sets the adapters and LoRA pairs of each of `blocks`.
    fn set_blocks(
        &self,
        task: &str,
        blocks: &mut [BlockWeights<HostTensor>],
    ) -> Result<(), MaterialiseError> {
        let embeddings = self.embeddings(task)?;
        let shared = self.config.heads_by_site();
        let at = |site: Site| embeddings.index_axis(Axis(1), if shared { 0 } else { site.position() });
        let adapted = self.config.adapters == AdapterHeads::All;
        for site in Site::ADAPTERS.into_iter().filter(|_| adapted) {
            for (block, adapter) in blocks.iter_mut().zip(self.adapters(&at(site), site)?) {
                if let Some(place) = block.adapter_mut(site) {
                    *place = Some(adapter);
                }
            }
        }
        let Some(lora) = &self.config.lora else {
            return Ok(());
        };
        for site in lora.sites(self.shape, self.stack) {
            for (block, pair) in blocks.iter_mut().zip(self.loras(&at(site), lora, site)?) {
                if let Some(place) = block.lora_mut(site) {
                    *place = Some(pair);
                }
            }
        }
        Ok(())
    }

    fn embeddings(&self, task: &str) -> Result<Array3<f64>, MaterialiseError> {
        let (task_width, width) = (self.config.task_embed_dim, self.config.embed_dim());
        let layers = self.shape.blocks(self.stack);
        let task: Array1<f64> = self.read(&names::task_embedding(task), &[task_width])?;
        let layer: Array2<f64> = self.part("layer_embed.weight", &[layers, width])?;
        // A method without position embeddings has one position of width 0.
        let position: Array2<f64> = match self.config.positions(self.shape) {
            Some(positions) => self.part("position_embed.weight", &[positions, width])?,
            None => Array2::zeros((1, 0)),
        };
        let positions = position.nrows();
        let input = Array3::from_shape_fn((layers, positions, self.config.projector_input()), |(l, p, i)| {
            match i.checked_sub(task_width) {
                None => task[i],
                Some(i) if i < width => layer[[l, i]],
                Some(i) => position[[p, i - width]],
            }
        });
        let mut projected = Array3::zeros((layers, positions, width));
        for (input, mut projected) in input.outer_iter().zip(projected.outer_iter_mut()) {
            projected.assign(&self.project(&input)?);
        }
        Ok(projected)
    }

    /// The projector: two linear maps with a ReLU between them, and a LayerNorm.
    /// `[rows, projector_input]` -> `[rows, embed_dim]`
    fn project(&self, input: &ArrayView2<'_, f64>) -> Result<Array2<f64>, MaterialiseError> {
        let width = self.config.embed_dim();
        let mut hidden = self.linear(input, "projector.fc1", self.config.projector_hidden)?;
        hidden.mapv_inplace(|x| x.max(0.0));
        let mut projected = self.linear(&hidden.view(), "projector.fc2", width)?;
        let gamma: Array1<f64> = self.part("projector.norm.weight", &[width])?;
        let beta: Array1<f64> = self.part("projector.norm.bias", &[width])?;
        layer_norm(&mut projected, &gamma.view(), &beta.view(), self.config.projector_norm_eps);
        Ok(projected)
    }

    /// One adapter for each row of `input` `[layers, embed_dim]`.
    fn adapters(
        &self,
        input: &ArrayView2<'_, f64>,
        site: Site,
    ) -> Result<Vec<Adapter<HostTensor>>, MaterialiseError> {
        let (d, b) = (self.shape.width, self.config.bottleneck(self.shape.width));
        let head =
            |module, head, width| self.linear(input, &self.config.adapter_head(module, head, site), width);
        let down_weight = head("adapter_down", "weight_head", b * d)?;
        let down_bias = head("adapter_down", "bias_head", b)?;
        let up_weight = head("adapter_up", "weight_head", d * b)?;
        let up_bias = head("adapter_up", "bias_head", d)?;
        let gamma = head("adapter_norm", "gamma_head", d)? + self.config.ln_gamma_offset;
        let beta = head("adapter_norm", "beta_head", d)?;
        let adapter = |row| {
            Ok(Adapter {
                down_weight: row_tensor(&down_weight, row, &[b, d])?,
                down_bias: row_tensor(&down_bias, row, &[b])?,
                up_weight: row_tensor(&up_weight, row, &[d, b])?,
                up_bias: row_tensor(&up_bias, row, &[d])?,
                activation: Activation::GeluNew,
                norm: Some(LayerNorm {
                    gamma: row_tensor(&gamma, row, &[d])?,
                    beta: row_tensor(&beta, row, &[d])?,
                    eps: self.config.adapter_norm_eps,
                }),
                placement: Placement::BeforeDropout,
            })
        };
        (0..input.nrows()).map(adapter).collect()
    }

    /// One LoRA pair for each row of `input` `[layers, embed_dim]`.
    fn loras(
        &self,
        input: &ArrayView2<'_, f64>,
        config: &LoraConfig,
        site: Site,
    ) -> Result<Vec<Lora<HostTensor>>, MaterialiseError> {
        let (d, inner, rank) = (self.shape.width, self.shape.lora_output(), config.rank);
        let head = |matrix, width| -> Result<Array2<f64>, MaterialiseError> {
            let weight: Array2<f64> =
                self.part(&config.head(matrix, site), &[width, self.config.embed_dim()])?;
            Ok(input.dot(&weight.t()))
        };
        let a = head("lora_a", rank * d)?;
        let b = head("lora_b", inner * rank)?;
        let lora = |row| {
            Ok(Lora {
                a: row_tensor(&a, row, &[rank, d])?,
                b: row_tensor(&b, row, &[inner, rank])?,
                scale: config.scale(),
            })
        };
        (0..input.nrows()).map(lora).collect()
    }

    /// `x Wᵀ + bias` with `part.weight` `[width, in]` and `part.bias` `[width]`.
    fn linear(
        &self,
        x: &ArrayView2<'_, f64>,
        part: &str,
        width: usize,
    ) -> Result<Array2<f64>, MaterialiseError> {
        let weight: Array2<f64> = self.part(&format!("{part}.weight"), &[width, x.ncols()])?;
        let bias: Array1<f64> = self.part(&format!("{part}.bias"), &[width])?;
        Ok(x.dot(&weight.t()) + bias)
    }

    fn part<D: Dimension>(&self, part: &str, shape: &[usize]) -> Result<Array<f64, D>, MaterialiseError> {
        self.read(&names::hypernetwork(self.stack, part), shape)
    }

    fn read<D: Dimension>(&self, name: &str, shape: &[usize]) -> Result<Array<f64, D>, MaterialiseError> {
        wide(self.checkpoint, name, shape)
    }
}

/// The output of a head for one row, rounded to float32, as a tensor of `shape` (row-major).
fn row_tensor(values: &Array2<f64>, row: usize, shape: &[usize]) -> Result<HostTensor, MaterialiseError> {
    let values: Vec<f32> = values.row(row).iter().map(|x| *x as f32).collect();
    let found = vec![values.len()];
    HostTensor::from_shape_vec(IxDyn(shape), values).map_err(|_| MaterialiseError::Shape {
        name: "output of a head".to_owned(),
        found,
        expected: shape.to_vec(),
    })
}
