//! What the graph's initializers are called and how their elements are laid out.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::method::names::adapter as adapter_name;
use hyperloader_core::weights::task::{Adapter, Generator, Linear, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::{Bytes, Weight};
use ndarray::Ix2;

use super::generator::block_bias;
use super::{GraphError, MASKED};

/// A tensor does not fit the initializer that it was given for.
#[derive(Debug, thiserror::Error)]
#[error("tensor for `{name}` has shape {found:?}, expected {expected:?}")]
pub struct ElementsError {
    name: String,
    found: Vec<usize>,
    expected: Vec<usize>,
}

/// How an initializer is made from the tensor of its name.
enum Layout {
    /// As it is: norms, biases, and `[vocab, d_model]` of the embedding and the head.
    Same,
    /// `[in, out]` of a linear map's `[out, in]`.
    Transposed,
    /// `[heads, distances]` of a relative-position table's `[buckets, heads]`.
    ByDistance(Stack, Attention),
}

/// The elements of the initializer `weight` as little-endian bytes, made from the `tensor` of its name: the backbone's
/// (LoRA folded in), one of [`added_tensors`], or the drafter's.
///
/// Matrices of linear maps are transposed to `[in, out]`; relative-position tables are written out by key position -
/// query position, `[heads, 2 * max_distance + 1]` from `-max_distance` to `max_distance` where attention looks both
/// ways and `[heads, max_distance + 2]` from `-max_distance` to 1 where it looks back, the last column masking what is
/// ahead; all else is as it was.
///
/// # Errors
/// If the tensor's shape does not fit.
pub fn weight_elements(
    config: &T5Config,
    weight: &Weight,
    tensor: &HostTensor,
) -> Result<Bytes, ElementsError> {
    let layout = layout(&weight.name, weight.dims.len());
    let mut expected = weight.dims.clone();
    match layout {
        Layout::Same => {}
        Layout::Transposed => expected.reverse(),
        Layout::ByDistance(..) => expected = vec![config.relative_attention_num_buckets, config.num_heads],
    }
    let error = || ElementsError {
        name: weight.name.clone(),
        found: tensor.shape().to_vec(),
        expected: expected.clone(),
    };
    if tensor.shape() != expected {
        return Err(error());
    }
    if let Layout::Same = layout {
        return Ok(bytes(weight, tensor.iter().copied()));
    }
    let matrix = tensor.view().into_dimensionality::<Ix2>().map_err(|_| error())?;
    Ok(match layout {
        Layout::ByDistance(stack, kind) => {
            let by_distance = |head| {
                distances(config, stack, kind).map(move |distance| {
                    let bidirectional = bidirectional(stack, kind);
                    match distance > 0 && !bidirectional {
                        true => MASKED,
                        false => matrix[[config.bucket(distance, bidirectional), head]],
                    }
                })
            };
            bytes(weight, (0..config.num_heads).flat_map(by_distance))
        }
        Layout::Same | Layout::Transposed => bytes(weight, matrix.reversed_axes().iter().copied()),
    })
}

fn bytes(weight: &Weight, elements: impl Iterator<Item = f32>) -> Bytes {
    let mut bytes = Vec::with_capacity(weight.byte_count());
    elements.for_each(|element| bytes.extend_from_slice(&element.to_le_bytes()));
    bytes.into()
}

fn layout(name: &str, rank: usize) -> Layout {
    const TABLES: [(Stack, Attention); 3] = [
        (Stack::Encoder, Attention::SelfAttention),
        (Stack::Decoder, Attention::SelfAttention),
        (Stack::Decoder, Attention::CrossAttention),
    ];
    if rank == 1 || name == names::SHARED || name == names::LM_HEAD {
        return Layout::Same;
    }
    match TABLES.into_iter().find(|&(stack, kind)| names::relative_bias(stack, kind) == name) {
        Some((stack, kind)) => Layout::ByDistance(stack, kind),
        None => Layout::Transposed,
    }
}

/// Only the decoder's self-attention looks back only.
fn bidirectional(stack: Stack, kind: Attention) -> bool {
    stack == Stack::Encoder || kind == Attention::CrossAttention
}

/// Key position - query position as far as the table of a kind of attention tells them apart.
pub(super) fn distances(config: &T5Config, stack: Stack, kind: Attention) -> RangeInclusive<i64> {
    let max = config.relative_attention_max_distance as i64;
    -max..=if bidirectional(stack, kind) { max } else { 1 }
}

/// The tensors that a method adds to T5's, by their initializers' names: `encoder.block.0.layer.0.adapter.down.weight`,
/// `generator.fc1.weight`.
pub fn added_tensors(task: &TaskWeights<HostTensor>) -> BTreeMap<String, &HostTensor> {
    let adapters = adapters(task).flat_map(|(stack, block, layer, adapter)| {
        let parts = parts(adapter);
        parts
            .into_iter()
            .map(move |(part, tensor)| (adapter_name(&names::sub_layer(stack, block, layer), part), tensor))
    });
    adapters.chain(task.generator.iter().flat_map(generator_tensors)).collect()
}

fn generator_tensors(generator: &Generator<HostTensor>) -> Vec<(String, &HostTensor)> {
    let Generator { fc1, fc2, trunk, block_biases, down_weight, down_bias, up_weight, up_bias } = generator;
    let mut tensors = vec![("generator.trunk".to_owned(), trunk)];
    tensors.extend(block_biases.iter().enumerate().map(|(block, bias)| (block_bias(block), bias)));
    for (part, Linear { weight, bias }) in [
        ("fc1", fc1),
        ("fc2", fc2),
        ("down_weight", down_weight),
        ("down_bias", down_bias),
        ("up_weight", up_weight),
        ("up_bias", up_bias),
    ] {
        tensors.push((format!("generator.{part}.weight"), weight));
        tensors.push((format!("generator.{part}.bias"), bias));
    }
    tensors
}

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

/// Checks that a task's weights have as many blocks as the backbone and that its adapters' shapes fit.
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
