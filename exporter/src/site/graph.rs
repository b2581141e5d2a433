//! Adapters that are the same for every input, and LoRA pairs beside their matrices, as nodes of a graph.

use hyperloader_core::method::names;
use hyperloader_core::weights::task::{Adapter, Lora, Placement};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::Value;

use crate::operators::activate;
use crate::weights::{Layout, Part, TaskGraphBuilder, declare_tensor};

/// A sub-layer's input `x` and output `y` joined: `x + (y + A(y))`, `x + (y + A(x))` for a parallel adapter, or `x + y`
/// without an adapter. `module` is the name of the sub-layer.
pub(crate) fn join<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    module: &str,
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
        let update = bottleneck(graph, module, input, adapter);
        graph.add(y, update)
    });
    graph.add(x, y)
}

/// `norm(up(activation(down(x))))`
/// (`docs/reference/hyperloader.md#t5-block-with-task-weights`, `docs/reference/baselines.md#adapters`).
fn bottleneck<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    module: &str,
    x: Value,
    adapter: &'a Adapter<HostTensor>,
) -> Value {
    let weight = |graph: &mut TaskGraphBuilder<'a>, part: &str, layout, tensor: &'a HostTensor| {
        declare_tensor(graph, &names::adapter(module, part), Part::Adapters, layout, tensor)
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

/// `scale * B (A x)` for the pair on `module` (Hu et al. 2022).
pub(crate) fn low_rank<'a>(
    graph: &mut TaskGraphBuilder<'a>,
    module: &str,
    lora: &'a Lora<HostTensor>,
    x: Value,
) -> Value {
    let a = declare_tensor(graph, &names::lora(module, "a"), Part::Lora, Layout::Transposed, &lora.a);
    let b = declare_tensor(graph, &names::lora(module, "b"), Part::Lora, Layout::Transposed, &lora.b);
    let down = graph.matmul(x, a);
    let up = graph.matmul(down, b);
    if lora.scale == 1.0 {
        return up;
    }
    let scale = graph.f32(lora.scale as f32);
    graph.mul(up, scale)
}
