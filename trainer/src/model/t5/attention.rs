//! T5's attention: unscaled scores plus a relative-position bias and a mask (docs/reference/backbones.md#attention).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::weights::task::AttentionWeights;
use tch::{Device, Kind, Tensor};

use super::layers::RmsNorm;
use crate::linear::{product, with_lora};
use crate::model::mode::Mode;
use crate::model::packing::{Packing, packed, padded};

/// Added to the scores of masked keys. Their weight becomes 0 in float32. It is finite, so that a row whose keys are all
/// masked gets equal weights, not NaN.
const MASKED: f64 = -1e9;

/// Keys and values of one attention, split into heads: `[batch, heads, key_len, d_kv]`.
#[derive(Debug)]
pub(super) struct KeyValues {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

impl KeyValues {
    /// Adds those of `later` positions, at the end or where `places` says.
    fn add(&mut self, later: &KeyValues, places: Option<&Places>) {
        for (kept, later) in [(&mut self.keys, &later.keys), (&mut self.values, &later.values)] {
            *kept = match places {
                None => Tensor::cat(&[&*kept, later], 2),
                Some(places) => places.written(kept, later),
            };
        }
    }

    /// Keeps these rows of the batch, int64 `[rows]`.
    pub(super) fn keep(&mut self, rows: &Tensor) {
        self.keys = self.keys.index_select(0, rows);
        self.values = self.values.index_select(0, rows);
    }
}

/// Where the keys and values of new positions go, if not to the end.
#[derive(Debug)]
pub(super) struct Places {
    /// The column of each new position of each row, int64 `[batch, len]`. It is overwritten.
    pub(super) columns: Tensor,
    /// The number of columns after that, at least.
    pub(super) width: i64,
}

impl Places {
    /// `kept` `[batch, heads, columns, d_kv]` with `later` `[batch, heads, len, d_kv]` at the columns. New columns that
    /// nothing is written to are zero.
    fn written(&self, kept: &Tensor, later: &Tensor) -> Tensor {
        let size = kept.size();
        let missing = (self.width - size[2]).max(0);
        let wide = kept.constant_pad_nd([0, 0, 0, missing]);
        let columns = self.columns.unsqueeze(1).unsqueeze(-1).expand_as(later);
        wide.scatter(2, &columns, later)
    }
}

/// What the decoder keeps of the self-attention of one block.
pub(super) struct Kept<'a> {
    pub(super) block: &'a mut Option<KeyValues>,
    pub(super) places: Option<&'a Places>,
}

/// The positions whose states a block computes.
#[derive(Default)]
pub(super) struct Positions<'a> {
    /// The tokens, if states are `[tokens, d_model]`; without it they are `[batch, len, d_model]`.
    pub(super) packing: Option<&'a Packing>,
    /// Where keys and values are added, if other positions came before or will come after.
    pub(super) kept: Option<Kept<'a>>,
}

/// An attention and the norm before it.
#[derive(Debug)]
pub(super) struct AttentionLayer {
    norm: RmsNorm,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    heads: i64,
}

impl AttentionLayer {
    pub(super) fn new<E>(
        config: &T5Config,
        (stack, block): (Stack, usize),
        kind: Attention,
        tensor: &mut impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let norm = RmsNorm::new(tensor(&names::attention_norm(stack, block, kind))?, config);
        let mut part = |part| tensor(&names::attention(stack, block, kind, part));
        Ok(Self {
            norm,
            q: part("q")?,
            k: part("k")?,
            v: part("v")?,
            o: part("o")?,
            heads: config.num_heads as i64,
        })
    }

    /// `[batch, len, inner_dim]`, or `[tokens, inner_dim]` if packed, to `[batch, heads, len, d_kv]`.
    fn split(&self, x: Tensor, packing: Option<&Packing>) -> Tensor {
        let x = padded(x, packing);
        let size = x.size();
        x.view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
    }

    /// Keys and values of `states` `[batch, key_len, d_model]`, or `[tokens, d_model]` if packed.
    pub(super) fn keys_and_values(
        &self,
        states: &Tensor,
        weights: &AttentionWeights<Tensor>,
        packing: Option<&Packing>,
    ) -> KeyValues {
        KeyValues {
            keys: self.split(product(states, &self.k), packing),
            values: self.split(with_lora(product(states, &self.v), states, weights.v.as_ref()), packing),
        }
    }

    /// Self-attention of the states `x`, before dropout and residual. Its keys and values are added to those that are kept.
    pub(super) fn attend_to_self(
        &self,
        x: &Tensor,
        weights: &AttentionWeights<Tensor>,
        Positions { packing, kept }: Positions<'_>,
        bias: &Tensor,
        mode: Mode,
    ) -> Tensor {
        let n = self.norm.forward(x);
        let own = self.keys_and_values(&n, weights, packing);
        let source = match kept {
            None => &own,
            Some(Kept { block: Some(past), places }) => {
                past.add(&own, places);
                &*past
            }
            Some(Kept { block, .. }) => &*block.insert(own),
        };
        self.attend((&n, packing), weights, source, bias, mode)
    }

    /// Cross-attention of `x` `[batch, len, d_model]`, or `[tokens, d_model]` if packed, over the encoder's keys and values,
    /// before dropout and residual.
    pub(super) fn attend_to(
        &self,
        (x, packing): (&Tensor, Option<&Packing>),
        weights: &AttentionWeights<Tensor>,
        source: &KeyValues,
        bias: &Tensor,
        mode: Mode,
    ) -> Tensor {
        self.attend((&self.norm.forward(x), packing), weights, source, bias, mode)
    }

    fn attend(
        &self,
        (n, packing): (&Tensor, Option<&Packing>),
        weights: &AttentionWeights<Tensor>,
        KeyValues { keys, values }: &KeyValues,
        bias: &Tensor,
        mode: Mode,
    ) -> Tensor {
        let queries = self.split(with_lora(product(n, &self.q), n, weights.q.as_ref()), packing);
        let context = if mode.drops() {
            let mut scores = queries.matmul(&keys.transpose(-1, -2));
            scores += bias;
            mode.dropout(scores.softmax(-1, None)).matmul(values)
        } else {
            // The fused kernel is twice as fast on the CPU. It does not support dropout there.
            Tensor::scaled_dot_product_attention(&queries, keys, values, Some(bias), 0.0, false, 1.0, false)
        };
        let context = context.transpose(1, 2).flatten(2, 3);
        product(&packed(context, packing), &self.o)
    }
}

/// A table of biases by relative-position bucket, `[buckets, heads]`.
#[derive(Debug)]
pub(super) struct RelativeBias {
    pub(super) table: Tensor,
    pub(super) bidirectional: bool,
}

impl RelativeBias {
    /// The bias of each query position on each key position, `[1, heads, query_len, key_len]`.
    pub(super) fn forward(&self, config: &T5Config, query_len: i64, key_len: i64) -> Tensor {
        // The bucket depends only on key - query: compute one entry per distance, then copy one row per query.
        let by_distance: Vec<i64> = (1 - query_len..key_len)
            .map(|distance| config.bucket(distance, self.bidirectional) as i64)
            .collect();
        let buckets: Vec<i64> = (0..query_len)
            .flat_map(|query| &by_distance[(query_len - 1 - query) as usize..][..key_len as usize])
            .copied()
            .collect();
        let buckets = Tensor::from_slice(&buckets).to_device(self.table.device());
        self.table.index_select(0, &buckets).view([query_len, key_len, -1]).permute([2, 0, 1]).unsqueeze(0)
    }
}

/// 0 where `attention_mask` `[batch, key_len]` is 1, [`MASKED`] elsewhere: `[batch, 1, 1, key_len]`.
pub(super) fn padding_bias(attention_mask: &Tensor, kind: Kind) -> Tensor {
    let masked = attention_mask.eq(0).to_kind(kind) * MASKED;
    masked.unsqueeze(1).unsqueeze(1)
}

/// [`MASKED`] where the key comes after the query: `[len, len]`.
pub(super) fn causal_bias(len: i64, options: (Kind, Device)) -> Tensor {
    Tensor::full([len, len], MASKED, options).triu(1)
}
