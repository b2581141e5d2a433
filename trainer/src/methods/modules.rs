//! Adapters, LoRA and UniPELT: the trainable tensors of a task are its modules (docs/reference/baselines.md).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config};
use hyperloader_core::method::{ModulesConfig, PairConfig, names};
use hyperloader_core::weights::task::{Activation, Adapter, Lora, Placement, TaskWeights};
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights of `task`.
pub(super) fn generate(
    method: &ModulesConfig,
    t5: &T5Config,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    let tensor =
        |module: String| parameters.require(&names::of_task(task, &module)).map(Tensor::shallow_clone);
    let adapter = |activation: Activation, stack, block, layer| {
        let part = |part| tensor(names::adapter(stack, block, layer, part));
        Ok(Adapter {
            down_weight: part("down.weight")?,
            down_bias: part("down.bias")?,
            up_weight: part("up.weight")?,
            up_bias: part("up.bias")?,
            activation,
            norm: None,
            placement: Placement::AfterDropout,
        })
    };
    let pair = |config: &PairConfig, stack, block, kind, projection| {
        let matrix = |matrix| tensor(names::lora(stack, block, kind, projection, matrix));
        Ok(Lora { a: matrix("a")?, b: matrix("b")?, scale: config.scale() })
    };
    let mut weights = TaskWeights::none(t5.layers(Stack::Encoder), t5.layers(Stack::Decoder));
    for stack in Stack::BOTH {
        let feed_forward = Attention::of(stack).len();
        for (block, weights) in weights.blocks_mut(stack).iter_mut().enumerate() {
            if let Some(activation) = method.activation {
                weights.self_attention_adapter = Some(adapter(activation, stack, block, 0)?);
                weights.feed_forward_adapter = Some(adapter(activation, stack, block, feed_forward)?);
            }
            if let Some(config) = &method.lora {
                for kind in Attention::of(stack) {
                    let attention = weights.attention_mut(*kind);
                    attention.q = Some(pair(config, stack, block, *kind, "q")?);
                    attention.v = Some(pair(config, stack, block, *kind, "v")?);
                }
            }
        }
    }
    Ok(weights)
}
