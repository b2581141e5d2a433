//! T5 (Raffel et al. 2020) as Hugging Face computes it (docs/reference/backbones.md#t5-block), with the weights of a task
//! (docs/reference/hyperloader.md#t5-block-with-task-weights).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::weights::task::{Adapter, BlockWeights, TaskWeights};
use tch::{Device, Kind, Tensor};

use super::attention::{
    AttentionLayer, Kept, KeyValues, Places, Positions, RelativeBias, causal_bias, padding_bias,
};
use super::generator::generated;
use super::layers::{FeedForwardLayer, RmsNorm};
use crate::data::batch::Batch;
use crate::loss::{Head, StepLoss};
use crate::model::adapter::joined;
use crate::model::mode::Mode;
use crate::model::packing::Packing;

/// An encoder-decoder T5.
#[derive(Debug)]
pub struct T5 {
    /// Dimensions of the backbone; its dropout rate is applied in training.
    pub config: T5Config,
    /// The output layer: decoder states to logits.
    pub head: Head,
    embedding: Tensor,
    encoder: Blocks,
    decoder: Blocks,
    cross_bias: Option<RelativeBias>,
}

#[derive(Debug)]
struct Blocks {
    list: Vec<Block>,
    self_bias: RelativeBias,
    final_norm: RmsNorm,
}

#[derive(Debug)]
struct Block {
    self_attention: AttentionLayer,
    cross_attention: Option<AttentionLayer>,
    feed_forward: FeedForwardLayer,
}

/// The source as the decoder reads it: keys and values of each block, the bias on their scores, and generated adapters.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) blocks: Vec<KeyValues>,
    /// One per block, with a leading batch axis. Empty if the task's weights do not depend on the input.
    pub(super) adapters: Vec<Adapter<Tensor>>,
    padding: Tensor,
    pub(super) len: i64,
}

impl Source {
    pub(super) fn device(&self) -> Device {
        self.padding.device()
    }

    /// Keeps these rows of the batch, int64 `[rows]`.
    pub(super) fn keep(&mut self, rows: &Tensor) {
        let select = |tensor: &mut Tensor| *tensor = tensor.index_select(0, rows);
        select(&mut self.padding);
        self.blocks.iter_mut().for_each(|block| block.keep(rows));
        for adapter in &mut self.adapters {
            select(&mut adapter.down_weight);
            select(&mut adapter.down_bias);
            select(&mut adapter.up_weight);
            select(&mut adapter.up_bias);
        }
    }
}

/// Keys and values of the target positions so far, one entry per block of the decoder.
pub(super) type Past = Vec<Option<KeyValues>>;

/// The decoder's inputs.
struct Inputs<'a> {
    /// `[batch, len]`, or `[tokens]` if packed, int64.
    ids: &'a Tensor,
    packing: Option<&'a Packing>,
    /// Where keys and values are added: at its end, or at `places`.
    past: Option<&'a mut Past>,
    places: Option<&'a Places>,
}

impl<'a> Inputs<'a> {
    /// Ids `[batch, len]`. Keys and values are added at the end of `past`.
    fn padded(ids: &'a Tensor, past: Option<&'a mut Past>) -> Self {
        Self { ids, packing: None, past, places: None }
    }
}

impl T5 {
    /// Builds a T5. `tensor` is called once for each name of [`T5Config::tensors`]; a tensor that requires a gradient
    /// receives one in the backward pass.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn new<E>(config: &T5Config, mut tensor: impl FnMut(&str) -> Result<Tensor, E>) -> Result<Self, E> {
        let embedding = tensor(names::SHARED)?;
        let matrix = match config.tie_word_embeddings {
            true => embedding.shallow_clone(),
            false => tensor(names::LM_HEAD)?,
        };
        let cross_bias = match config.cross_attention_relative_bias {
            true => Some(RelativeBias {
                table: tensor(&names::relative_bias(Stack::Decoder, Attention::CrossAttention))?,
                bidirectional: true,
            }),
            false => None,
        };
        Ok(Self {
            config: config.clone(),
            head: Head::new(matrix, config.head_scale()),
            embedding,
            encoder: Blocks::new(config, Stack::Encoder, &mut tensor)?,
            decoder: Blocks::new(config, Stack::Decoder, &mut tensor)?,
            cross_bias,
        })
    }

    /// The device of the tensors.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false).to_kind(self.kind())
    }

    /// Precision of the activations.
    fn kind(&self) -> Kind {
        self.encoder.final_norm.kind()
    }

    /// The encoder's output after the final norm, `[batch, source_len, d_model]`, of `input_ids` and
    /// `attention_mask` (1 for a token, 0 for padding), both `[batch, source_len]`, int64.
    pub fn encode(
        &self,
        weights: &TaskWeights<Tensor>,
        input_ids: &Tensor,
        attention_mask: &Tensor,
        mode: Mode,
    ) -> Tensor {
        self.encode_observed(weights, input_ids, attention_mask, mode, &mut |_| {})
    }

    /// [`T5::encode`]; `observe` is called with the input of each block.
    pub fn encode_observed(
        &self,
        weights: &TaskWeights<Tensor>,
        input_ids: &Tensor,
        attention_mask: &Tensor,
        mode: Mode,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        self.encoded(weights, (input_ids, None), attention_mask, mode, observe)
    }

    /// [`T5::encode_observed`] of ids `[batch, source_len]`, or `[tokens]` if packed; the states have the layout of the ids.
    fn encoded(
        &self,
        weights: &TaskWeights<Tensor>,
        (ids, packing): (&Tensor, Option<&Packing>),
        attention_mask: &Tensor,
        mode: Mode,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let len = attention_mask.size()[1];
        let bias = self.encoder.self_bias.forward(&self.config, len, len);
        let bias = bias + padding_bias(attention_mask, self.kind());
        let mut x = mode.dropout(self.embed(ids));
        for (block, weights) in self.encoder.list.iter().zip(&weights.encoder) {
            observe(&x);
            let positions = Positions { packing, kept: None };
            x = block.forward(x, weights, positions, &bias, None, mode);
        }
        mode.dropout(self.encoder.final_norm.forward(&x))
    }

    /// The decoder's output after the final norm, `[batch, target_len, d_model]`, of `decoder_input_ids`
    /// `[batch, target_len]` over the encoder's output. The target needs no padding mask: padding is at its end, and
    /// the causal mask hides it from all earlier positions.
    pub fn decode(
        &self,
        weights: &TaskWeights<Tensor>,
        decoder_input_ids: &Tensor,
        encoder_output: &Tensor,
        attention_mask: &Tensor,
        mode: Mode,
    ) -> Tensor {
        let states = (encoder_output, attention_mask);
        self.decode_observed(weights, decoder_input_ids, states, mode, &mut |_| {})
    }

    /// [`T5::decode`]; `observe` is called with the input of each block.
    pub fn decode_observed(
        &self,
        weights: &TaskWeights<Tensor>,
        decoder_input_ids: &Tensor,
        (encoder_output, attention_mask): (&Tensor, &Tensor),
        mode: Mode,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let source = self.source(weights, (encoder_output, None), attention_mask);
        let len = decoder_input_ids.size()[1];
        self.decoded(weights, (Inputs::padded(decoder_input_ids, None), len), &source, mode, observe)
    }

    /// The decoder's output after the final norm for the first `len` positions, in the layout of the ids. `observe` is called with
    /// the input of each block.
    fn decoded(
        &self,
        weights: &TaskWeights<Tensor>,
        (inputs, len): (Inputs<'_>, i64),
        source: &Source,
        mode: Mode,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let biases = [&self.causal_self_bias(len), &self.cross_bias(source, len)];
        self.decoder_blocks(weights, inputs, source, biases, mode, observe)
    }

    /// [`T5::decoded`] for any positions, whose `biases` are those of self-attention and of cross-attention.
    fn decoder_blocks(
        &self,
        weights: &TaskWeights<Tensor>,
        Inputs { ids, packing, mut past, places }: Inputs<'_>,
        source: &Source,
        [self_bias, cross_bias]: [&Tensor; 2],
        mode: Mode,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        if let Some(past) = &mut past {
            past.resize_with(self.decoder.list.len(), || None);
        }
        let mut x = mode.dropout(self.embed(ids));
        for (i, (block, weights)) in self.decoder.list.iter().zip(&weights.decoder).enumerate() {
            observe(&x);
            let cross = Some((source, i, cross_bias));
            let kept = past.as_deref_mut().map(|past| Kept { block: &mut past[i], places });
            x = block.forward(x, weights, Positions { packing, kept }, self_bias, cross, mode);
        }
        mode.dropout(self.decoder.final_norm.forward(&x))
    }

    /// Encodes the sources `input_ids` and `attention_mask`, both `[batch, source_len]`, for the decoder. Computes no padding but
    /// in attention.
    pub(super) fn read(
        &self,
        weights: &TaskWeights<Tensor>,
        [input_ids, attention_mask]: [&Tensor; 2],
        mode: Mode,
    ) -> Source {
        if weights.generator.is_some() {
            // The generator reads the mean of each row.
            let encoded = self.encode(weights, input_ids, attention_mask, mode);
            return self.source(weights, (&encoded, None), attention_mask);
        }
        let packing = Packing::new(attention_mask);
        let ids = packing.packed(input_ids);
        let encoded = self.encoded(weights, (&ids, Some(&packing)), attention_mask, mode, &mut |_| {});
        self.source(weights, (&encoded, Some(&packing)), attention_mask)
    }

    /// The decoder's output after the final norm at each token of `target_ids` `[batch, target_len]` that `packing` names:
    /// `[tokens, d_model]`. Keys and values are put into `past`, which is empty. Computes no padding but in attention.
    pub(super) fn target_states(
        &self,
        weights: &TaskWeights<Tensor>,
        (target_ids, packing): (&Tensor, &Packing),
        source: &Source,
        past: Option<&mut Past>,
        mode: Mode,
    ) -> Tensor {
        let (inputs, len) = (self.shift_right(target_ids), target_ids.size()[1]);
        if weights.generator.is_some() {
            // Generated adapters have a batch axis.
            let inputs = Inputs::padded(&inputs, past);
            return packing.packed(&self.decoded(weights, (inputs, len), source, mode, &mut |_| {}));
        }
        let ids = packing.packed(&inputs);
        let inputs = Inputs { packing: Some(packing), ..Inputs::padded(&ids, past) };
        self.decoded(weights, (inputs, len), source, mode, &mut |_| {})
    }

    /// Logits `[batch, len, vocab_size]` of the decoder's output `[batch, len, d_model]`.
    pub fn logits(&self, decoder_output: &Tensor) -> Tensor {
        self.head.logits(decoder_output)
    }

    /// The summed label-smoothed loss of a batch (docs/reference/training.md#loss), over targets that are not padding.
    pub fn loss(
        &self,
        weights: &TaskWeights<Tensor>,
        batch: &Batch,
        label_smoothing: f64,
        mode: Mode,
    ) -> StepLoss {
        let Batch { input_ids, attention_mask, target_ids } = batch;
        let packing = Packing::new(&target_ids.not_equal(self.config.pad_token_id));
        let source = self.read(weights, [input_ids, attention_mask], mode);
        let states = self.target_states(weights, (target_ids, &packing), &source, None, mode);
        self.head.label_smoothed(&states, &packing.packed(target_ids), label_smoothing)
    }

    /// The decoder's inputs for `target_ids` `[batch, target_len]`: the start token, then all targets but the last.
    pub fn shift_right(&self, target_ids: &Tensor) -> Tensor {
        let shifted = target_ids.roll([1_i64], [1_i64]);
        let _ = shifted.narrow(1, 0, 1).fill_(self.config.decoder_start_token_id);
        shifted
    }

    /// The source for the decoder, from the encoder's output `[batch, source_len, d_model]`, or `[tokens, d_model]` if packed.
    fn source(
        &self,
        weights: &TaskWeights<Tensor>,
        (encoder_output, packing): (&Tensor, Option<&Packing>),
        attention_mask: &Tensor,
    ) -> Source {
        let blocks = self.decoder.list.iter().zip(&weights.decoder);
        Source {
            blocks: blocks
                .filter_map(|(block, weights)| {
                    let attention = block.cross_attention.as_ref()?;
                    Some(attention.keys_and_values(encoder_output, &weights.cross_attention, packing))
                })
                .collect(),
            adapters: match &weights.generator {
                Some(generator) => generated(generator, encoder_output, attention_mask),
                None => Vec::new(),
            },
            padding: padding_bias(attention_mask, self.kind()),
            len: attention_mask.size()[1],
        }
    }

    /// Bias of the decoder's self-attention over `len` positions, `[1, heads, len, len]`.
    pub(super) fn causal_self_bias(&self, len: i64) -> Tensor {
        let bias = self.decoder.self_bias.forward(&self.config, len, len);
        bias + causal_bias(len, (self.kind(), self.device()))
    }

    /// Bias of cross-attention for `len` target positions, `[batch, heads or 1, len or 1, source_len]`.
    pub(super) fn cross_bias(&self, source: &Source, len: i64) -> Tensor {
        match &self.cross_bias {
            None => source.padding.shallow_clone(),
            Some(bias) => bias.forward(&self.config, len, source.len) + &source.padding,
        }
    }

    /// Decodes later positions of the target than those of `past`: the decoder's inputs `ids` `[batch, len]` to its output
    /// `[batch, len, d_model]`. `self_bias` and `cross_bias` are the biases of these positions. Their keys and values are
    /// added to `past`: at its end, or at `places`.
    pub(super) fn decode_after(
        &self,
        weights: &TaskWeights<Tensor>,
        ids: &Tensor,
        (past, places): (&mut Past, Option<&Places>),
        self_bias: &Tensor,
        (source, cross_bias): (&Source, &Tensor),
    ) -> Tensor {
        let inputs = Inputs { ids, packing: None, past: Some(past), places };
        let biases = [self_bias, cross_bias];
        self.decoder_blocks(weights, inputs, source, biases, Mode::Evaluation, &mut |_| {})
    }
}

impl Blocks {
    fn new<E>(
        config: &T5Config,
        stack: Stack,
        tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let list = (0..config.layers(stack))
            .map(|i| Block::new(config, stack, i, tensor))
            .collect::<Result<_, E>>()?;
        Ok(Self {
            list,
            self_bias: RelativeBias {
                table: tensor(&names::relative_bias(stack, Attention::SelfAttention))?,
                bidirectional: stack == Stack::Encoder,
            },
            final_norm: RmsNorm::new(tensor(&names::final_norm(stack))?, config),
        })
    }
}

impl Block {
    fn new<E>(
        config: &T5Config,
        stack: Stack,
        block: usize,
        tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let mut attention = |kind| AttentionLayer::new(config, (stack, block), kind, tensor);
        Ok(Self {
            self_attention: attention(Attention::SelfAttention)?,
            cross_attention: match stack {
                Stack::Encoder => None,
                Stack::Decoder => Some(attention(Attention::CrossAttention)?),
            },
            feed_forward: FeedForwardLayer::new(config, (stack, block), tensor)?,
        })
    }

    fn forward(
        &self,
        x: Tensor,
        weights: &BlockWeights<Tensor>,
        positions: Positions<'_>,
        self_bias: &Tensor,
        cross: Option<(&Source, usize, &Tensor)>,
        mode: Mode,
    ) -> Tensor {
        let (attention, packing) = (&self.self_attention, positions.packing);
        let y = attention.attend_to_self(&x, &weights.self_attention, positions, self_bias, mode);
        let x = joined(&x, y, weights.self_attention_adapter.as_ref(), mode);
        let (x, generated) = match (&self.cross_attention, cross) {
            (Some(attention), Some((source, block, bias))) => {
                let memory = &source.blocks[block];
                let y = attention.attend_to((&x, packing), &weights.cross_attention, memory, bias, mode);
                (joined(&x, y, None, mode), source.adapters.get(block))
            }
            _ => (x, None),
        };
        let y = self.feed_forward.forward(&x, mode);
        joined(&x, y, generated.or(weights.feed_forward_adapter.as_ref()), mode)
    }
}
