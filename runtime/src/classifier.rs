//! Tags of source tokens from a token classifier: one pass, no target is written.

use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS};

use crate::backend::{Backend, BackendError, Graph, Value};
use crate::decode::Statistics;
use crate::model_file::ModelFile;

/// A token classifier, ready to run.
#[derive(Debug)]
pub struct Classifier {
    graph: Box<dyn Graph>,
    pad: i64,
    statistics: Statistics,
}

impl Classifier {
    /// Opens a token classifier: inputs `input_ids` and `attention_mask` `[batch, source_len]`, output `logits`
    /// `[batch, source_len, tags]`.
    ///
    /// # Errors
    /// If the backend does not take it.
    pub fn new(backend: &Backend, file: &ModelFile) -> Result<Self, BackendError> {
        Ok(Self {
            graph: backend.open(file.model(), file.weights())?,
            pad: file.metadata().pad_token_id,
            statistics: Statistics::default(),
        })
    }

    /// What tagging has cost since the classifier was made: one pass a sentence.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The most likely tag of each token of each source, by its number; of equally likely ones the first. All sources are
    /// run as one batch.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn tag_ids(&mut self, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
        let length = sources.iter().map(Vec::len).max().unwrap_or(0);
        if length == 0 {
            return Ok(vec![vec![]; sources.len()]);
        }
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for source in sources {
            let padding = length - source.len();
            ids.extend(source.iter().map(|&id| i64::from(id)));
            ids.extend(std::iter::repeat_n(self.pad, padding));
            mask.extend(std::iter::repeat_n(1, source.len()));
            mask.extend(std::iter::repeat_n(0, padding));
        }
        let shape = [sources.len(), length];
        let (ids, mask) = (Value::from_i64s(&shape, ids)?, Value::from_i64s(&shape, mask)?);
        let outputs = self.graph.run(&[(INPUT_IDS, &ids), (ATTENTION_MASK, &mask)])?;
        let logits = outputs.first().map_or(Ok(&[][..]), Value::f32s)?;
        let width = logits.len() / (sources.len() * length);
        if width == 0 || logits.len() != width * sources.len() * length {
            return Err(BackendError::Shape { shape: shape.to_vec(), found: logits.len() });
        }
        self.statistics = self.statistics.plus(Statistics {
            sentences: sources.len(),
            passes: sources.len(),
            ids: sources.iter().map(Vec::len).sum(),
            mistakes: 0,
            fallbacks: 0,
        });
        let rows = logits.chunks(width * length).zip(sources);
        Ok(rows.map(|(row, source)| row.chunks(width).take(source.len()).map(argmax).collect()).collect())
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, better) as u32
}

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn the_first_of_equal_maxima_is_chosen() {
        assert_eq!(argmax(&[0.5, 2.0, -1.0, 2.0]), 1);
        assert_eq!(argmax(&[-3.0]), 0);
    }
}
