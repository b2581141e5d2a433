//! The encoder of a batch: what the decoder reads of the sources, and the drafter's scores.

use hyperloader_core::decode::draft::Sentence;
use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS};
use hyperloader_core::text::drafter::{ROLES, read_from};
use hyperloader_core::text::source::PaddedRows;

use super::plan::parts_of_like_length;
use crate::backend::{BackendError, Graph, Value};
use crate::model::{Source, source_inputs};

/// The open encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) graph: Box<dyn Graph>,
    /// Names of the outputs that the decoder reads.
    pub(super) memory_names: Vec<String>,
    /// Number of tags that the drafter scores, if it is used. Its scores are then the last output,
    /// `[batch, source_len, roles * tags]`.
    pub(super) drafted_tags: Option<usize>,
    /// Id of the padding of sources.
    pub(super) pad: i64,
    /// The cost of a pass apart from its tokens, in tokens.
    pub(super) pass_cost: f64,
}

/// What the decoder reads of a batch of sources.
#[derive(Debug)]
pub(super) struct Memory {
    /// `[batch, source_len]`.
    pub(super) attention_mask: Value,
    /// The encoder's outputs by [`Encoder::memory_names`]: the cross-attention's keys and values
    /// `[batch, heads, source_len, d_kv]`, and others with the batch as first axis.
    pub(super) values: Vec<Value>,
}

impl Memory {
    /// Removes all rows but these.
    pub(super) fn keep(&mut self, rows: &[usize]) -> Result<(), BackendError> {
        if rows.is_empty() {
            return Ok(());
        }
        for value in self.values.iter_mut().chain([&mut self.attention_mask]) {
            *value = value.select_rows(rows)?;
        }
        Ok(())
    }
}

impl Encoder {
    /// Encodes `sources`, in one run or in several runs if that saves padding.
    pub(super) fn encode(&mut self, sources: &[&Source]) -> Result<(Memory, Vec<Sentence>), BackendError> {
        let lengths: Vec<usize> = sources.iter().map(|source| source.ids.len()).collect();
        let mut parts = Vec::new();
        let mut sentences = Vec::new();
        for part in parts_of_like_length(&lengths, self.pass_cost) {
            let (values, drafted) = self.encode_part(&sources[part])?;
            parts.push(values);
            sentences.extend(drafted);
        }
        let values = match parts.len() {
            1 => parts.remove(0),
            _ => {
                let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
                // Each part is freed as soon as it is copied.
                let stacked =
                    |_| Value::stacked(&parts.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
                (0..self.memory_names.len()).map(stacked).collect::<Result<_, _>>()?
            }
        };
        let ones = PaddedRows::new(lengths.iter().map(|length| std::iter::repeat_n(1, *length)), 0);
        let attention_mask = Value::from_i64s(&ones.shape, ones.values)?;
        Ok((Memory { attention_mask, values }, sentences))
    }

    /// The outputs of one run that the decoder reads, and what is known of each sentence.
    fn encode_part(&mut self, sources: &[&Source]) -> Result<(Vec<Value>, Vec<Sentence>), BackendError> {
        let [input_ids, attention_mask] = source_inputs(sources, self.pad)?;
        let length = input_ids.shape()[1];
        let mut outputs = self.graph.run(&[(INPUT_IDS, &input_ids), (ATTENTION_MASK, &attention_mask)])?;
        let scores = self.drafted_tags.and_then(|tags| Some((outputs.pop()?, tags)));
        let sentences = match scores {
            Some((scores, tags)) => scored(sources, length, tags, &scores)?,
            None => sources.iter().map(|source| Sentence { words: words(source), scores: vec![] }).collect(),
        };
        Ok((outputs, sentences))
    }
}

/// Number of words of a source: one fewer than sentinels.
fn words(source: &Source) -> usize {
    source.marks.len().saturating_sub(1)
}

/// Each source with the scores of its words' tags, `[words, tags]`. A word's scores are the sums of what the drafter's output
/// `[batch, length, roles * tags]` gives at the tokens in its roles.
fn scored(
    sources: &[&Source],
    length: usize,
    tags: usize,
    output: &Value,
) -> Result<Vec<Sentence>, BackendError> {
    let shape = [sources.len(), length, ROLES * tags];
    let output = output.f32s()?;
    if output.len() != shape.iter().product::<usize>() {
        return Err(BackendError::Shape { shape: shape.to_vec(), found: output.len() });
    }
    let sentence = |(row, source): (usize, &&Source)| {
        let words = words(source);
        let mut scores = vec![0.0; words * tags];
        for (word, sums) in scores.chunks_mut(tags).enumerate() {
            for (role, at) in read_from(&source.marks, word).into_iter().enumerate() {
                let Some(at) = at else { continue };
                let start = ((row * length + at) * ROLES + role) * tags;
                let added = &output[start..start + tags];
                sums.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
        }
        Sentence { words, scores }
    };
    Ok(sources.iter().enumerate().map(sentence).collect())
}
