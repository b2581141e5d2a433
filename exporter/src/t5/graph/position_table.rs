//! Relative position biases as tables by distance (`docs/reference/backbones.md#relative-position-bias`).

use std::ops::RangeInclusive;

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_onnx::Value;
use ndarray::{ArrayD, ArrayViewD, Ix2, IxDyn};

use super::parts::T5Parts;
use crate::error::ModelError;
use crate::weights::{Layout, Part, Source, TaskGraphBuilder, declare};

/// Added to the scores of keys that a query must not attend to. It acts as minus infinity, but a row in which all keys
/// are masked stays finite.
pub(super) const MASKED: f32 = -1e9;

impl<'a> T5Parts<'a> {
    /// The bias of a kind of attention, `[1, heads, query_len, key_len]`, for positions `queries` `[1, query_len, 1]` and
    /// `keys` `[1, 1, key_len]`: the table's entry at key position - query position, limited to the range of the table.
    ///
    /// The table itself masks the decoder's later positions. A comparison of positions would not work everywhere:
    /// tract 0.23.9 rewrites a `Where` over a comparison of two `Range`s to a wrong shape.
    pub(super) fn relative_bias(
        &self,
        graph: &mut TaskGraphBuilder<'a>,
        stack: Stack,
        kind: Attention,
        queries: Value,
        keys: Value,
    ) -> Value {
        let distances = distances(self.config, stack, kind);
        let name = names::relative_bias(stack, kind);
        let dims = [self.config.num_heads, distances.clone().count()];
        let (config, tensors, source) = (self.config, self.tensors, name.clone());
        let table = Source::on_demand(Part::PositionTables, Layout::Same, move || {
            by_distance(config, stack, kind, &source, tensors.folded_tensor(&source)?.view())
        });
        let table = declare(graph, &name, &dims, table);
        let (first, last) = (graph.i64(*distances.start()), graph.i64(*distances.end()));
        let distance = graph.sub(keys, queries);
        let distance = graph.max(distance, first);
        let distance = graph.min(distance, last);
        let column = graph.sub(distance, first);
        let bias = graph.gather(table, column, 1);
        graph.transpose(bias, &[1, 0, 2, 3])
    }
}

/// Only the decoder's self-attention does not attend to later positions.
fn bidirectional(stack: Stack, kind: Attention) -> bool {
    stack == Stack::Encoder || kind == Attention::CrossAttention
}

/// Values of key position - query position that the table of a kind of attention distinguishes: up to the maximum
/// distance on both sides, or up to 1 where later positions are masked.
fn distances(config: &T5Config, stack: Stack, kind: Attention) -> RangeInclusive<i64> {
    let max = config.relative_attention_max_distance as i64;
    -max..=if bidirectional(stack, kind) { max } else { 1 }
}

/// The table `[heads, distances]` made of the backbone's table `[buckets, heads]`. Where later positions are masked, the
/// last column is [`MASKED`].
fn by_distance(
    config: &T5Config,
    stack: Stack,
    kind: Attention,
    name: &str,
    table: ArrayViewD<'_, f32>,
) -> Result<HostTensor, ModelError> {
    let expected = vec![config.relative_attention_num_buckets, config.num_heads];
    let found = table.shape().to_vec();
    let misshapen =
        || ModelError::Shape { name: name.to_owned(), found: found.clone(), expected: expected.clone() };
    if found != expected {
        return Err(misshapen());
    }
    let table = table.into_dimensionality::<Ix2>().map_err(|_| misshapen())?;
    let (distances, bidirectional) = (distances(config, stack, kind), bidirectional(stack, kind));
    let (first, columns) = (*distances.start(), distances.count());
    Ok(ArrayD::from_shape_fn(IxDyn(&[config.num_heads, columns]), |at| {
        let distance = first + at[1] as i64;
        match distance > 0 && !bidirectional {
            true => MASKED,
            false => table[[config.bucket(distance, bidirectional), at[0]]],
        }
    }))
}
