//! Compares a task's weights with the backbone before the graph is built.

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::names;
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{Adapter, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;

use crate::error::GraphError;

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
pub(crate) fn check_adapters(
    shape: &BackboneShape,
    task: &TaskWeights<HostTensor>,
) -> Result<(), GraphError> {
    for stack in Stack::BOTH {
        check_depth(stack, task.blocks(stack).len(), shape)?;
    }
    if let Some(generator) = &task.generator {
        check_depth(Stack::Decoder, generator.block_biases.len(), shape)?;
    }
    for site in shape.adapters() {
        let Some(adapter) = task.blocks(site.stack)[site.block].adapter(site.site) else { continue };
        let (width, bottleneck) = (shape.width, adapter.down_bias.len());
        for (part, tensor) in parts(adapter) {
            let expected = match part {
                "down.weight" => vec![bottleneck, width],
                "down.bias" => vec![bottleneck],
                "up.weight" => vec![width, bottleneck],
                _ => vec![width],
            };
            if tensor.shape() != expected {
                let name = names::adapter(&site.module, part);
                return Err(GraphError::Shape { name, found: tensor.shape().to_vec(), expected });
            }
        }
    }
    Ok(())
}

fn check_depth(stack: Stack, found: usize, shape: &BackboneShape) -> Result<(), GraphError> {
    match shape.blocks(stack) {
        expected if found == expected => Ok(()),
        expected => Err(GraphError::Depth { stack, found, expected }),
    }
}
