//! Pieces of graphs that are composed of several operators and that T5 and BERT share.

use hyperloader_core::weights::task::Activation;
use hyperloader_onnx::{GraphBuilder, Value};

/// `0..length` of `ids` `[batch, length]`, `[length]`.
pub(crate) fn positions<S>(graph: &mut GraphBuilder<S>, ids: Value) -> Value {
    let length = graph.shape(ids, 1, 2);
    let length = graph.squeeze(length, &[0]);
    let (start, step) = (graph.i64(0), graph.i64(1));
    graph.range(start, length, step)
}

/// 0 for tokens and `masked` for padding, `[batch, 1, 1, source_len]`, from a float32 `mask` `[batch, source_len]`.
pub(crate) fn padding_bias<S>(graph: &mut GraphBuilder<S>, mask: Value, masked: f32) -> Value {
    let (one, masked) = (graph.f32(1.0), graph.f32(masked));
    let padding = graph.sub(one, mask);
    let bias = graph.mul(padding, masked);
    graph.unsqueeze(bias, &[1, 2])
}

/// The non-linearity of an adapter or of a feed-forward layer.
pub(crate) fn activate<S>(graph: &mut GraphBuilder<S>, activation: Activation, x: Value) -> Value {
    match activation {
        Activation::GeluNew => gelu_new(graph, x),
        Activation::Gelu => graph.scoped("gelu", |graph| gelu(graph, x)),
        Activation::Swish => swish(graph, x),
        Activation::Relu => graph.relu(x),
    }
}

/// `0.5 x (1 + tanh u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)` (Hendrycks and Gimpel 2016), computed as
/// `x / (1 + exp(-2 u))`. This form has no cancellation where `tanh u` is near -1, and it avoids `Tanh`, which ends 6e-7
/// before 1 in tract.
fn gelu_new<S>(graph: &mut GraphBuilder<S>, x: Value) -> Value {
    graph.scoped("gelu_new", |graph| {
        let (cubic, root) = (graph.f32(0.044_715), graph.f32(-2.0 * std::f32::consts::FRAC_2_PI.sqrt()));
        let (one, three) = (graph.f32(1.0), graph.f32(3.0));
        let cube = graph.pow(x, three);
        let cube = graph.mul(cube, cubic);
        let sum = graph.add(x, cube);
        let exponent = graph.mul(sum, root);
        let exponential = bounded_exp(graph, exponent);
        let divisor = graph.add(exponential, one);
        graph.div(x, divisor)
    })
}

/// `x (1 + erf(x / sqrt(2))) / 2`.
fn gelu<S>(graph: &mut GraphBuilder<S>, x: Value) -> Value {
    let (root, one, half) = (graph.f32(std::f32::consts::FRAC_1_SQRT_2), graph.f32(1.0), graph.f32(0.5));
    let scaled = graph.mul(x, root);
    let erf = graph.erf(scaled);
    let share = graph.add(erf, one);
    let product = graph.mul(x, share);
    graph.mul(product, half)
}

/// `exp(x)` where x is at most 80, and `exp(80)` beyond: nothing overflows in float32. As a divisor, both make a result that is 0
/// but for 1e-33.
fn bounded_exp<S>(graph: &mut GraphBuilder<S>, x: Value) -> Value {
    let most = graph.f32(80.0);
    let x = graph.min(x, most);
    graph.exp(x)
}

/// `x / (1 + exp(-x))`.
fn swish<S>(graph: &mut GraphBuilder<S>, x: Value) -> Value {
    graph.scoped("swish", |graph| {
        let (one, minus) = (graph.f32(1.0), graph.f32(-1.0));
        let exponent = graph.mul(x, minus);
        let exponential = bounded_exp(graph, exponent);
        let divisor = graph.add(exponential, one);
        graph.div(x, divisor)
    })
}
