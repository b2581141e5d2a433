//! Adapters that are the same for every input.

use hyperloader_core::backbone::t5::{Stack, names};
use hyperloader_core::method::names::adapter as adapter_name;
use hyperloader_core::weights::task::{Adapter, Placement};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::Value;

use crate::operators::activate;
use crate::weights::{Layout, Part, TaskGraphBuilder, declare_tensor};

/// Stack, block and layer of an adapter.
pub(super) type Site = (Stack, usize, usize);

/// A sub-layer's input `x` and output `y` joined: `x + (y + A(y))`, `x + (y + A(x))` for a parallel adapter, or `x + y`
/// without an adapter.
pub(super) fn join<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    site: Site,
    x: Value,
    y: Value,
    adapter: Option<&'a Adapter<HostTensor>>,
) -> Value {
    let Some(adapter) = adapter else { return graph.add(x, y) };
    let input = match adapter.placement {
        Placement::BeforeDropout | Placement::AfterDropout => y,
        Placement::Parallel => x,
    };
    let y = graph.scoped("adapter", |graph| {
        let update = bottleneck(graph, site, input, adapter);
        graph.add(y, update)
    });
    graph.add(x, y)
}

/// `norm(up(activation(down(x))))`
/// (`docs/reference/hyperloader.md#t5-block-with-task-weights`, `docs/reference/baselines.md#adapters`).
fn bottleneck<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    (stack, block, layer): Site,
    x: Value,
    adapter: &'a Adapter<HostTensor>,
) -> Value {
    let module = names::sub_layer(stack, block, layer);
    let weight = |graph: &mut TaskGraphBuilder<'a>, part: &str, layout, tensor: &'a HostTensor| {
        declare_tensor(graph, &adapter_name(&module, part), Part::Adapters, layout, tensor)
    };
    let matrix = weight(graph, "down.weight", Layout::Transposed, &adapter.down_weight);
    let down = graph.scoped("down", |graph| graph.matmul(x, matrix));
    let bias = weight(graph, "down.bias", Layout::Same, &adapter.down_bias);
    let down = graph.add(down, bias);
    let active = activate(graph, adapter.activation, down);
    let matrix = weight(graph, "up.weight", Layout::Transposed, &adapter.up_weight);
    let up = graph.scoped("up", |graph| graph.matmul(active, matrix));
    let bias = weight(graph, "up.bias", Layout::Same, &adapter.up_bias);
    let up = graph.add(up, bias);
    let Some(norm) = &adapter.norm else { return up };
    let gamma = weight(graph, "norm.weight", Layout::Same, &norm.gamma);
    let beta = weight(graph, "norm.bias", Layout::Same, &norm.beta);
    graph.layer_normalization(up, gamma, beta, norm.eps as f32)
}
