//! One pass of the decoder over a batch of targets.

use hyperloader_core::decode::rows::Row;
use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, KEY_POSITIONS, QUERY_POSITIONS};
use hyperloader_core::text::source::PaddedRows;

use super::encoder::Memory;
use super::past::Past;
use crate::backend::{BackendError, Graph, Value};
use crate::split::WANTED;

/// The open decoder, which chooses ids at wanted positions of targets.
#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) graph: Box<dyn Graph>,
    /// Numbers in each of the graph's first outputs for each wanted position.
    pub(super) widths: Vec<usize>,
    /// First input id of each target.
    pub(super) start: i64,
    /// Id of the padding of targets.
    pub(super) pad: i64,
}

/// The output of a pass.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Tokens of each row that the pass covered.
    pub(super) length: usize,
    /// The graph's first outputs, for each wanted position of each row.
    pub(super) values: Vec<Value>,
    /// The self-attention's keys and values of all tokens so far, each `[rows, heads, past_len + length, d_kv]`.
    pub(super) past: Vec<Value>,
}

impl Chooser {
    /// The choices at the `wanted` positions of each row. `None` if no position is wanted.
    pub(super) fn choose(
        &mut self,
        memory: (&[String], &Memory),
        past: &Past,
        rows: &[Row],
        wanted: &[Vec<usize>],
    ) -> Result<Option<Chosen>, BackendError> {
        let tokens = past.tokens();
        // The choice at position k follows the start token and k ids.
        let ends = tokens.iter().zip(wanted).filter_map(|(tokens, wanted)| Some(wanted.last()? + 1 - tokens));
        let Some(length) = ends.max() else { return Ok(None) };
        let inputs = rows.iter().zip(&tokens).map(|(row, tokens)| {
            let target = row.target().iter().map(|id| i64::from(*id));
            std::iter::once(self.start).chain(target).skip(*tokens).take(length)
        });
        let targets = PaddedRows::new(inputs, self.pad);
        let flat = tokens.iter().zip(wanted).enumerate().flat_map(|(row, (tokens, wanted))| {
            wanted.iter().map(move |position| (row * length + position - tokens) as i64)
        });
        let flat: Vec<i64> = flat.collect();
        let count = flat.len();
        let targets = Value::from_i64s(&targets.shape, targets.values)?;
        let flat = Value::from_i64s(&[count], flat)?;
        let [queries, keys] = past.positions(length)?;
        let inputs: Vec<(&str, &Value)> = [
            (DECODER_INPUT_IDS, &targets),
            (ATTENTION_MASK, &memory.1.attention_mask),
            (QUERY_POSITIONS, &queries),
            (KEY_POSITIONS, &keys),
            (WANTED, &flat),
        ]
        .into_iter()
        .chain(memory.0.iter().map(String::as_str).zip(&memory.1.values))
        .chain(past.inputs())
        .collect();
        let mut outputs = self.graph.run(&inputs)?.into_iter();
        let values: Vec<Value> = outputs.by_ref().take(self.widths.len()).collect();
        for (at, &width) in self.widths.iter().enumerate() {
            let found = values.get(at).map_or(0, |value| value.shape().iter().product());
            if found != count * width {
                return Err(BackendError::Shape { shape: vec![count, width], found });
            }
        }
        Ok(Some(Chosen { length, values, past: outputs.collect() }))
    }
}
