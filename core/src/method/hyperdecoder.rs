//! Hyperdecoder: adapters of the decoder are generated for each input from the encoder's output, those of the encoder
//! are learned (docs/reference/baselines.md#hyperdecoder).

use serde::{Deserialize, Serialize};

use super::error::MethodError;
use super::family::{MethodFamily, Sharing, TaskShape, check_width};
use super::kind::Method;
use super::names;
use super::tensors::{Init, TensorList, TrainableTensor};
use crate::backbone::shape::BackboneShape;
use crate::weights::site::Stack;

/// Hyper-parameters of Hyperdecoder (Ivison and Peters 2022; the sizes are those of its published configuration).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of hyper-parameters")]
pub struct HyperdecoderConfig {
    /// [`Method::Hyperdecoder`].
    pub method: Method,
    /// Bottleneck of the encoder's learned adapters.
    pub encoder_bottleneck: usize,
    /// Bottleneck of the decoder's generated adapters.
    pub decoder_bottleneck: usize,
    /// Width of the input of the generator's heads.
    pub hypernetwork_bottleneck: usize,
    /// Width of the embedding of the decoder's blocks.
    pub layer_embed_dim: usize,
    /// Whether the decoder also has learned adapters, which the reference implementation creates, counts as trainable
    /// and never uses.
    pub unused_decoder_adapters: bool,
}

impl Default for HyperdecoderConfig {
    fn default() -> Self {
        Self {
            method: Method::Hyperdecoder,
            encoder_bottleneck: 64,
            decoder_bottleneck: 64,
            hypernetwork_bottleneck: 128,
            layer_embed_dim: 10,
            unused_decoder_adapters: true,
        }
    }
}

pub(super) fn variants() -> Vec<(&'static str, HyperdecoderConfig)> {
    let live = HyperdecoderConfig { unused_decoder_adapters: false, ..HyperdecoderConfig::default() };
    vec![("hyperdecoder", HyperdecoderConfig::default()), ("hyperdecoder-live", live)]
}

impl HyperdecoderConfig {
    /// Learned adapters parallel to the feed-forward layers of a stack: Xavier-uniform with gain 1e-4, biases 0.
    fn learned(shape: &BackboneShape, stack: Stack, b: usize, list: &mut TensorList) {
        let d = shape.width;
        let init = Init::Uniform { bound: 1e-4 * (6.0 / (d + b) as f64).sqrt() };
        for block in 0..shape.blocks(stack) {
            list.linear(&Self::learned_adapter(stack, block, "down"), [b, d], init);
            list.linear(&Self::learned_adapter(stack, block, "up"), [d, b], init);
        }
    }

    /// Name of `down` or `up` of the learned adapter of a block.
    pub fn learned_adapter(stack: Stack, block: usize, part: &str) -> String {
        names::hypernetwork(stack, &format!("learned_adapter.{block}.{part}"))
    }

    /// Heads start uniform within `1e-3 sqrt(3 / (width * fan_in))`, with the fan-in of the matrix that they generate;
    /// the layer embedding starts as N(0, 1), all else as in PyTorch (docs/reference/baselines.md#hyperdecoder).
    fn generator(&self, shape: &BackboneShape, list: &mut TensorList) {
        let (d, b, h) = (shape.width, self.decoder_bottleneck, self.hypernetwork_bottleneck);
        let name = |part: &str| names::hypernetwork(Stack::Decoder, part);
        let head = |fan_in: usize| Init::Uniform { bound: 1e-3 * (3.0 / (h * fan_in) as f64).sqrt() };
        list.torch_linear(&name("pooled.fc1"), [d, d]);
        list.torch_linear(&name("pooled.fc2"), [d, d]);
        let layers = shape.blocks(Stack::Decoder);
        list.add(name("layer_embed.weight"), &[layers, self.layer_embed_dim], Init::Normal { std: 1.0 });
        list.torch_linear(&name("trunk"), [h, d + self.layer_embed_dim]);
        list.linear(&name("adapter_down.weight_head"), [d * b, h], head(d));
        list.linear(&name("adapter_down.bias_head"), [b, h], head(1));
        list.linear(&name("adapter_up.weight_head"), [b * d, h], head(b));
        list.linear(&name("adapter_up.bias_head"), [d, h], head(1));
    }
}

impl MethodFamily for HyperdecoderConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Everything
    }

    fn trainable_tensors(&self, shape: &BackboneShape, _tasks: &[TaskShape]) -> Vec<TrainableTensor> {
        let mut list = TensorList::default();
        Self::learned(shape, Stack::Encoder, self.encoder_bottleneck, &mut list);
        if self.unused_decoder_adapters {
            Self::learned(shape, Stack::Decoder, self.decoder_bottleneck, &mut list);
        }
        self.generator(shape, &mut list);
        list.0
    }

    fn check(&self, _shape: &BackboneShape) -> Result<(), MethodError> {
        for (field, n) in [
            ("encoder_bottleneck", self.encoder_bottleneck),
            ("decoder_bottleneck", self.decoder_bottleneck),
            ("hypernetwork_bottleneck", self.hypernetwork_bottleneck),
            ("layer_embed_dim", self.layer_embed_dim),
        ] {
            check_width(field, n)?;
        }
        Ok(())
    }
}
