//! Hyperdecoder: the encoder's learned adapters, and the generator of the decoder's adapters
//! (`docs/reference/baselines.md#hyperdecoder`). The part of the generator that does not depend on the input is computed
//! here.

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::{HyperdecoderConfig, names};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{Activation, Adapter, Generator, Linear, Placement, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{Array1, Array2, s};

use super::{MaterialiseError, Materialises, tensor, wide};

impl Materialises for HyperdecoderConfig {
    fn task_weights(
        &self,
        shape: &BackboneShape,
        checkpoint: &Tensors,
        _task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
        let linear = |name: &str, [out, input]: [usize; 2]| {
            Ok(Linear {
                weight: tensor(checkpoint, &format!("{name}.weight"), &[out, input])?.clone(),
                bias: tensor(checkpoint, &format!("{name}.bias"), &[out])?.clone(),
            })
        };
        let (d, h, e) = (shape.width, self.hypernetwork_bottleneck, self.layer_embed_dim);
        let mut weights: TaskWeights<HostTensor> = shape.no_weights();
        for (block, weights) in weights.encoder.iter_mut().enumerate() {
            let b = self.encoder_bottleneck;
            let map = |part, shape| linear(&Self::learned_adapter(Stack::Encoder, block, part), shape);
            let Linear { weight: down_weight, bias: down_bias } = map("down", [b, d])?;
            let Linear { weight: up_weight, bias: up_bias } = map("up", [d, b])?;
            weights.feed_forward_adapter = Some(Adapter {
                down_weight,
                down_bias,
                up_weight,
                up_bias,
                activation: Activation::Relu,
                norm: None,
                placement: Placement::Parallel,
            });
        }
        let part = |part: &str| names::hypernetwork(Stack::Decoder, part);
        let trunk: Array2<f64> = wide(checkpoint, &part("trunk.weight"), &[h, d + e])?;
        let bias: Array1<f64> = wide(checkpoint, &part("trunk.bias"), &[h])?;
        let layers = shape.blocks(Stack::Decoder);
        let embeddings: Array2<f64> = wide(checkpoint, &part("layer_embed.weight"), &[layers, e])?;
        let by_block = embeddings.dot(&trunk.slice(s![.., d..]).t()) + bias;
        let b = self.decoder_bottleneck;
        weights.generator = Some(Generator {
            fc1: linear(&part("pooled.fc1"), [d, d])?,
            fc2: linear(&part("pooled.fc2"), [d, d])?,
            trunk: trunk.slice(s![.., ..d]).mapv(|x| x as f32).into_dyn(),
            block_biases: by_block.outer_iter().map(|row| row.mapv(|x| x as f32).into_dyn()).collect(),
            down_weight: linear(&part("adapter_down.weight_head"), [d * b, h])?,
            down_bias: linear(&part("adapter_down.bias_head"), [b, h])?,
            up_weight: linear(&part("adapter_up.weight_head"), [b * d, h])?,
            up_bias: linear(&part("adapter_up.bias_head"), [d, h])?,
        });
        Ok(weights)
    }
}
