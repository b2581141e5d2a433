//! Hyperdecoder: learned adapters in the encoder, and the generator of the decoder's adapters
//! (docs/reference/baselines.md#hyperdecoder).

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::{HyperdecoderConfig, names};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{Activation, Adapter, Generator, Linear, Placement, TaskWeights};
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights of every task: tasks share them, and the source tells them apart.
pub(super) fn generate(
    method: &HyperdecoderConfig,
    shape: &BackboneShape,
    parameters: &Parameters,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    let tensor = |name: &str| parameters.require(name).map(Tensor::shallow_clone);
    let linear = |name: &str| {
        Ok(Linear { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
    };
    let part = |part: &str| linear(&names::hypernetwork(Stack::Decoder, part));
    let mut weights: TaskWeights<Tensor> = shape.no_weights();
    for (block, weights) in weights.encoder.iter_mut().enumerate() {
        let map = |part| linear(&HyperdecoderConfig::learned_adapter(Stack::Encoder, block, part));
        let (down, up) = (map("down")?, map("up")?);
        weights.feed_forward_adapter = Some(Adapter {
            down_weight: down.weight,
            down_bias: down.bias,
            up_weight: up.weight,
            up_bias: up.bias,
            activation: Activation::Relu,
            norm: None,
            placement: Placement::Parallel,
        });
    }
    // The trunk reads [e' ; layer embedding]. The product with the layer embedding is the same for every input.
    let trunk = part("trunk")?;
    let embeddings = parameters.require(&names::hypernetwork(Stack::Decoder, "layer_embed.weight"))?;
    let (d, e) = (shape.width as i64, method.layer_embed_dim as i64);
    let by_block = embeddings.linear(&trunk.weight.narrow(1, d, e), Some(&trunk.bias));
    weights.generator = Some(Generator {
        fc1: part("pooled.fc1")?,
        fc2: part("pooled.fc2")?,
        trunk: trunk.weight.narrow(1, 0, d),
        block_biases: by_block.unbind(0),
        down_weight: part("adapter_down.weight_head")?,
        down_bias: part("adapter_down.bias_head")?,
        up_weight: part("adapter_up.weight_head")?,
        up_bias: part("adapter_up.bias_head")?,
    });
    Ok(weights)
}
