//! Keys and values of the decoder's self-attention for the targets of a batch. They are kept from one pass to the next, so
//! that a pass covers only the ids after the certain ones.
//!
//! The output of a pass goes into the next pass without a copy, wrong drafted ids included: they get the position
//! [`NOWHERE`], to which no query attends. They are removed when the batch is copied: when rows leave, or when there are too
//! many.

use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_onnx::proto::ModelProto;

use crate::backend::{BackendError, Value};
use crate::split::{self, NOWHERE, SplitError, cache_names};

/// Most columns per token of the longest row. Beyond, columns without a token are removed, which is a copy.
const SLACK: usize = 4;

/// The keys and values that the decoder keeps of each token.
#[derive(Debug)]
pub(super) struct Cache {
    /// Names of the decoder's inputs for the past.
    inputs: Vec<String>,
    heads: usize,
    d_kv: usize,
}

impl Cache {
    /// What the decoder of `model` keeps.
    pub(super) fn of(model: &ModelProto, metadata: &TaggerMetadata) -> Result<Self, SplitError> {
        let names = cache_names(metadata);
        let graph = model.graph.as_ref().zip(names.first());
        let shape = graph.map(|(graph, name)| split::cache_shape(graph, name)).transpose()?;
        let [heads, d_kv] = shape.unwrap_or_default();
        Ok(Self { inputs: names.iter().map(|name| split::past(name)).collect(), heads, d_kv })
    }

    /// Number of heads and their width.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.heads, self.d_kv]
    }
}

/// The past of a batch.
#[derive(Debug)]
pub(super) struct Past {
    /// Names of the decoder's inputs for the past.
    names: Vec<String>,
    /// The values of these inputs, `[rows, heads, columns, d_kv]` each.
    values: Vec<Value>,
    /// Of each row, the position in its target of each column: 0, 1, 2, ... for its tokens, [`NOWHERE`] for the others.
    columns: Vec<Vec<i64>>,
}

impl Past {
    /// The past of `rows` targets that have not begun.
    pub(super) fn new(cache: &Cache, rows: usize) -> Result<Self, BackendError> {
        let nothing = |_| Value::from_f32s(&[rows, cache.heads, 0, cache.d_kv], vec![]);
        let values = cache.inputs.iter().map(nothing).collect::<Result<_, _>>()?;
        Ok(Self { names: cache.inputs.clone(), values, columns: vec![vec![]; rows] })
    }

    /// The decoder's inputs for the past.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.names.iter().map(String::as_str).zip(&self.values)
    }

    /// The number of tokens of each row that need not be run again.
    pub(super) fn tokens(&self) -> Vec<usize> {
        let tokens = |columns: &Vec<i64>| columns.iter().filter(|position| **position != NOWHERE).count();
        self.columns.iter().map(tokens).collect()
    }

    /// The positions of `length` more tokens of each row, `[rows, length, 1]`, and those of all tokens that they may attend
    /// to, `[rows, 1, columns + length]`.
    pub(super) fn positions(&self, length: usize) -> Result<[Value; 2], BackendError> {
        let rows = self.columns.len();
        let fresh = |tokens: usize| (tokens..tokens + length).map(|position| position as i64);
        let tokens = self.tokens();
        let queries = tokens.iter().flat_map(|tokens| fresh(*tokens)).collect();
        let seen = self.columns.iter().zip(&tokens);
        let keys = seen.flat_map(|(columns, tokens)| columns.iter().copied().chain(fresh(*tokens)));
        let width = self.columns.first().map_or(0, Vec::len) + length;
        Ok([
            Value::from_i64s(&[rows, length, 1], queries)?,
            Value::from_i64s(&[rows, 1, width], keys.collect())?,
        ])
    }

    /// Replaces the values by the outputs of a pass over `length` more tokens of each row. `certain` says for each row how
    /// many of these tokens are certain; the others get the position [`NOWHERE`].
    pub(super) fn extend(
        &mut self,
        values: Vec<Value>,
        length: usize,
        certain: impl Iterator<Item = usize>,
    ) -> Result<(), BackendError> {
        for (old, new) in self.values.iter().zip(&values) {
            let mut shape = old.shape();
            shape[2] += length;
            if new.shape() != shape {
                return Err(BackendError::Shape { shape, found: new.shape().iter().product() });
            }
        }
        self.values = values;
        let mut longest = 0;
        let before = self.tokens();
        for ((columns, tokens), certain) in self.columns.iter_mut().zip(before).zip(certain) {
            let position = |at| if at < certain { (tokens + at) as i64 } else { NOWHERE };
            columns.extend((0..length).map(position));
            longest = longest.max(tokens + certain);
        }
        match self.columns.first().is_some_and(|columns| columns.len() > SLACK * (longest + 1)) {
            true => self.keep(&(0..self.columns.len()).collect::<Vec<_>>()),
            false => Ok(()),
        }
    }

    /// Removes all rows but these, and all columns without a token except those that pad shorter rows.
    pub(super) fn keep(&mut self, rows: &[usize]) -> Result<(), BackendError> {
        let columns: Vec<Vec<usize>> = rows
            .iter()
            .map(|&row| {
                let columns = self.columns[row].iter().enumerate();
                columns.filter(|(_, position)| **position != NOWHERE).map(|(column, _)| column).collect()
            })
            .collect();
        let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
        for value in &mut self.values {
            let (shape, elements) = (value.shape(), value.f32s()?);
            let [_, heads, width, d_kv] = shape[..] else {
                return Err(BackendError::Shape { shape, found: elements.len() });
            };
            let mut kept = Vec::with_capacity(rows.len() * heads * longest * d_kv);
            for (&row, columns) in rows.iter().zip(&columns) {
                for head in 0..heads {
                    let start = (row * heads + head) * width;
                    for column in columns {
                        let at = (start + column) * d_kv;
                        kept.extend_from_slice(&elements[at..at + d_kv]);
                    }
                    kept.resize(kept.len() + (longest - columns.len()) * d_kv, 0.0);
                }
            }
            *value = Value::from_f32s(&[rows.len(), heads, longest, d_kv], kept)?;
        }
        let position = |tokens: usize| move |at| if at < tokens { at as i64 } else { NOWHERE };
        let positions = |columns: &Vec<usize>| (0..longest).map(position(columns.len())).collect();
        self.columns = columns.iter().map(positions).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[rows, 2, columns, 1]`: row, head and column can be read off.
    fn value(rows: usize, columns: usize) -> Value {
        let element = |row: usize, head: usize, column: usize| (100 * row + 10 * head + column) as f32;
        let elements = (0..rows)
            .flat_map(|row| (0..2).flat_map(move |head| (0..columns).map(move |at| element(row, head, at))));
        Value::from_f32s(&[rows, 2, columns, 1], elements.collect()).unwrap()
    }

    fn empty(rows: usize) -> Past {
        Past::new(&Cache { inputs: vec!["past_key".into()], heads: 2, d_kv: 1 }, rows).unwrap()
    }

    #[test]
    fn wrong_tokens_are_nowhere_and_are_removed_with_a_row() {
        let mut past = empty(3);
        past.extend(vec![value(3, 3)], 3, [1, 3, 2].into_iter()).unwrap();
        past.extend(vec![value(3, 5)], 2, [2, 1, 0].into_iter()).unwrap();
        assert_eq!(past.tokens(), [3, 4, 2]);
        let [queries, keys] = past.positions(2).unwrap();
        assert_eq!((queries.shape(), queries.i64s().unwrap()), (vec![3, 2, 1], &[3, 4, 4, 5, 2, 3][..]));
        assert_eq!(keys.shape(), [3, 1, 7]);
        let n = NOWHERE;
        let expected = [0, n, n, 1, 2, 3, 4, 0, 1, 2, 3, n, 4, 5, 0, 1, n, n, n, 2, 3];
        assert_eq!(keys.i64s().unwrap(), expected);
        past.keep(&[0, 2]).unwrap();
        assert_eq!(past.values[0].shape(), [2, 2, 3, 1]);
        let expected = [0, 3, 4, 10, 13, 14, 200, 201, 0, 210, 211, 0].map(|n| n as f32);
        assert_eq!(past.values[0].f32s().unwrap(), expected);
        assert_eq!(past.positions(1).unwrap()[1].i64s().unwrap(), [0, 1, 2, 3, 0, 1, n, 2]);
    }

    #[test]
    fn a_past_does_not_grow_with_wrong_tokens() {
        let mut past = empty(1);
        for _ in 0..100 {
            let columns = past.values[0].shape()[2];
            past.extend(vec![value(1, columns + 9)], 9, [1].into_iter()).unwrap();
        }
        assert_eq!(past.tokens(), [100]);
        assert!(past.values[0].shape()[2] <= SLACK * 101);
    }

    #[test]
    fn outputs_of_another_shape_are_refused() {
        for wrong in [value(1, 2), value(2, 3)] {
            assert!(empty(1).extend(vec![wrong], 3, [1].into_iter()).is_err());
        }
    }
}
