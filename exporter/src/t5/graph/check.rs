//! Compares a task's weights with the backbone's configuration before the graph is built.

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::method::names::adapter as adapter_name;
use hyperloader_core::weights::task::{Adapter, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;

use crate::error::GraphError;

/// All adapters of a task with their stack, block and layer.
fn adapters(
    task: &TaskWeights<HostTensor>,
) -> impl Iterator<Item = (Stack, usize, usize, &Adapter<HostTensor>)> {
    Stack::BOTH.into_iter().flat_map(move |stack| {
        task.blocks(stack).iter().enumerate().flat_map(move |(block, weights)| {
            let feed_forward = Attention::of(stack).len();
            let sites = [(0, &weights.self_attention_adapter), (feed_forward, &weights.feed_forward_adapter)];
            sites
                .into_iter()
                .filter_map(move |(layer, adapter)| Some((stack, block, layer, adapter.as_ref()?)))
        })
    })
}

/// The tensors of an adapter by the end of their names.
fn parts(adapter: &Adapter<HostTensor>) -> Vec<(&'static str, &HostTensor)> {
    let mut parts = vec![
        ("down.weight", &adapter.down_weight),
        ("down.bias", &adapter.down_bias),
        ("up.weight", &adapter.up_weight),
        ("up.bias", &adapter.up_bias),
    ];
    if let Some(norm) = &adapter.norm {
        parts.extend([("norm.weight", &norm.gamma), ("norm.bias", &norm.beta)]);
    }
    parts
}

/// Checks that the task's weights have as many blocks as the backbone and that the shapes of its adapters fit.
///
/// # Errors
/// Returns [`GraphError::Depth`] or [`GraphError::Shape`].
pub(super) fn check_adapters(config: &T5Config, task: &TaskWeights<HostTensor>) -> Result<(), GraphError> {
    for stack in Stack::BOTH {
        let (found, expected) = (task.blocks(stack).len(), config.layers(stack));
        if found != expected {
            return Err(GraphError::Depth { stack, found, expected });
        }
    }
    if let Some(generator) = &task.generator {
        let (stack, found) = (Stack::Decoder, generator.block_biases.len());
        let expected = config.layers(stack);
        if found != expected {
            return Err(GraphError::Depth { stack, found, expected });
        }
    }
    for (stack, block, layer, adapter) in adapters(task) {
        let (d_model, bottleneck) = (config.d_model, adapter.down_bias.len());
        for (part, tensor) in parts(adapter) {
            let expected = match part {
                "down.weight" => vec![bottleneck, d_model],
                "down.bias" => vec![bottleneck],
                "up.weight" => vec![d_model, bottleneck],
                _ => vec![d_model],
            };
            if tensor.shape() != expected {
                let name = adapter_name(&names::sub_layer(stack, block, layer), part);
                return Err(GraphError::Shape { name, found: tensor.shape().to_vec(), expected });
            }
        }
    }
    Ok(())
}
