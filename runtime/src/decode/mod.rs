//! Target ids from source ids.

mod greedy;

use hyperloader_core::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, TaggerMetadata};
use hyperloader_onnx::proto::ModelProto;

use crate::backend::{Backend, BackendError, Graph, Value};
use crate::split::{self, SplitError, memory_names};

/// How target ids are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// One token a step, each the most likely of the whole vocabulary: as in the paper (section 3.6) and the reference
    /// implementation, whose output all other modes are measured by
    #[default]
    Greedy,
}

/// A tagger's graph cannot be decoded with.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// It cannot be cut in two.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The backend does not take a part.
    #[error("{part}: {error}")]
    Backend {
        /// `encoder` or `decoder`.
        part: &'static str,
        /// The backend's reason.
        error: BackendError,
    },
}

/// What the loop needs to know of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Padding of sources, and of targets that have ended.
    pub pad: i64,
    /// Ends a target.
    pub eos: i64,
    /// First input of the decoder.
    pub start: i64,
    /// Most ids of a target, `</s>` included.
    pub max_target_len: usize,
}

impl From<&TaggerMetadata> for Limits {
    fn from(metadata: &TaggerMetadata) -> Self {
        Self {
            pad: metadata.pad_token_id,
            eos: metadata.eos_token_id,
            start: metadata.decoder_start_token_id,
            max_target_len: metadata.max_target_len,
        }
    }
}

/// A model cut into encoder and decoder, ready to run.
#[derive(Debug)]
pub struct Decoder {
    encoder: Box<dyn Graph>,
    decoder: Box<dyn Graph>,
    memory_names: Vec<String>,
    limits: Limits,
}

/// What the decoder reads of a batch of sources.
struct Memory {
    /// Sources in the batch.
    rows: usize,
    /// `[batch, source_len]`.
    attention_mask: Value,
    /// The cross-attention's keys and values, each `[batch, heads, source_len, d_kv]`.
    cross: Vec<Value>,
}

impl Decoder {
    /// Cuts `model` in two and opens both parts.
    ///
    /// # Errors
    /// If the model cannot be cut, or the backend does not take a part.
    pub fn new(
        backend: &Backend,
        model: &ModelProto,
        metadata: &TaggerMetadata,
    ) -> Result<Self, DecoderError> {
        let open = |part, model: &ModelProto| {
            backend.open(model).map_err(|error| DecoderError::Backend { part, error })
        };
        Ok(Self {
            encoder: open("encoder", &split::encoder(model, metadata)?)?,
            decoder: open("decoder", &split::decoder(model, metadata)?)?,
            memory_names: memory_names(metadata),
            limits: metadata.into(),
        })
    }

    /// The target of each source: ids after the start token, up to and with `</s>` or, if that does not come, the
    /// longest target's length. All sources are run as one batch.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn target_ids(&mut self, sources: &[Vec<u32>], mode: Mode) -> Result<Vec<Vec<u32>>, BackendError> {
        if sources.is_empty() {
            return Ok(vec![]);
        }
        match mode {
            Mode::Greedy => greedy::decode(self, sources),
        }
    }

    /// Runs the encoder over `sources`, padded at the end to the longest.
    fn encode(&mut self, sources: &[Vec<u32>]) -> Result<Memory, BackendError> {
        let length = sources.iter().map(Vec::len).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(sources.len() * length);
        let mut mask = Vec::with_capacity(sources.len() * length);
        for source in sources {
            let padding = length - source.len();
            ids.extend(source.iter().map(|&id| i64::from(id)));
            ids.extend(std::iter::repeat_n(self.limits.pad, padding));
            mask.extend(std::iter::repeat_n(1, source.len()));
            mask.extend(std::iter::repeat_n(0, padding));
        }
        let shape = [sources.len(), length];
        let input_ids = Value::from_i64s(&shape, ids)?;
        let attention_mask = Value::from_i64s(&shape, mask)?;
        let cross = self.encoder.run(&[(INPUT_IDS, &input_ids), (ATTENTION_MASK, &attention_mask)])?;
        Ok(Memory { rows: sources.len(), attention_mask, cross })
    }

    /// The most likely next id of each row of `targets`, `[batch, target_len]` with the start token first.
    fn next_ids(&mut self, memory: &Memory, targets: Vec<i64>) -> Result<Vec<i64>, BackendError> {
        let targets = Value::from_i64s(&[memory.rows, targets.len() / memory.rows], targets)?;
        let cross = self.memory_names.iter().map(String::as_str).zip(&memory.cross);
        let inputs: Vec<(&str, &Value)> =
            [(DECODER_INPUT_IDS, &targets), (ATTENTION_MASK, &memory.attention_mask)]
                .into_iter()
                .chain(cross)
                .collect();
        let outputs = self.decoder.run(&inputs)?;
        let next = outputs.first().map_or(Ok(&[][..]), Value::i64s)?;
        match next.len() == memory.rows {
            true => Ok(next.to_vec()),
            false => Err(BackendError::Shape { shape: vec![memory.rows, 1], found: next.len() }),
        }
    }
}
