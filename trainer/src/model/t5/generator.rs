//! Adapters that are generated for each input (docs/reference/baselines.md#hyperdecoder).

use hyperloader_core::weights::task::{Activation, Adapter, Generator, Linear, Placement};
use tch::Tensor;

/// The mean of the encoder's output `[batch, source_len, d_model]` over the tokens of `attention_mask`
/// `[batch, source_len]`, and that mean after the generator's first two linear maps; both `[batch, d_model]`.
pub fn pooled(
    generator: &Generator<Tensor>,
    encoder_output: &Tensor,
    attention_mask: &Tensor,
) -> (Tensor, Tensor) {
    let mask = attention_mask.to_kind(encoder_output.kind()).unsqueeze(-1);
    let sum = |x: &Tensor| x.sum_dim_intlist([1_i64].as_slice(), false, None);
    let mean = sum(&(encoder_output * &mask)) / sum(&mask);
    let processed = linear(&linear(&mean, &generator.fc1).relu(), &generator.fc2);
    (mean, processed)
}

/// The adapters parallel to the decoder's feed-forward layers, one per block. Their tensors have a leading batch axis:
/// `[batch, bottleneck, d_model]`, `[batch, bottleneck]`, `[batch, d_model, bottleneck]`, `[batch, d_model]`.
pub fn generated(
    generator: &Generator<Tensor>,
    encoder_output: &Tensor,
    attention_mask: &Tensor,
) -> Vec<Adapter<Tensor>> {
    let (_, processed) = pooled(generator, encoder_output, attention_mask);
    let shared = processed.linear(&generator.trunk, None::<&Tensor>);
    let adapter = |bias: &Tensor| {
        let hidden = (&shared + bias).relu();
        let (down_bias, up_bias) =
            (linear(&hidden, &generator.down_bias), linear(&hidden, &generator.up_bias));
        let (b, d) = (down_bias.size()[1], up_bias.size()[1]);
        Adapter {
            down_weight: linear(&hidden, &generator.down_weight).view([-1, d, b]).transpose(1, 2),
            down_bias,
            up_weight: linear(&hidden, &generator.up_weight).view([-1, b, d]).transpose(1, 2),
            up_bias,
            activation: Activation::Relu,
            norm: None,
            placement: Placement::Parallel,
        }
    };
    generator.block_biases.iter().map(adapter).collect()
}

fn linear(x: &Tensor, Linear { weight, bias }: &Linear<Tensor>) -> Tensor {
    x.linear(weight, Some(bias))
}
