//! A few short sentences with a task's own tags: what an exported file is run on before it takes its name.

use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::run::Task;
use hyperloader_core::text::sentt::{SentT, SentTError};
use ndarray::Array2;

/// Of different lengths, so that padding counts.
pub(crate) const SENTENCES: [&str; 3] =
    ["set an alarm for 7 am", "play some jazz by miles davis on saturday night", "hello"];

/// Padded batches of ids, as the graph takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    /// SentT' sources, `[batch, source_len]`.
    pub input_ids: Array2<i64>,
    /// 1 for an id, 0 for padding, `[batch, source_len]`.
    pub attention_mask: Array2<i64>,
    /// SentT' targets shifted right, `[batch, target_len]`: the task's labels in turn, with `O` and `I` between them.
    pub decoder_input_ids: Array2<i64>,
}

impl Probes {
    /// The probes of `task`, sources behind the ids of `prefix`, cut to the run's lengths of sources and targets as in
    /// training.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn new(
        codec: &SentT,
        task: &Task,
        prefix: &[u32],
        config: &T5Config,
        (max_source_len, max_target_len): (usize, usize),
    ) -> Result<Self, SentTError> {
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for (number, sentence) in SENTENCES.iter().enumerate() {
            let words: Vec<String> = task.words.split(sentence).into_iter().map(|word| word.text).collect();
            let tags: Vec<&str> = (0..words.len()).map(|at| tag(&task.labels, number, at)).collect();
            let mut source = [prefix, &codec.encode_source(&words)?].concat();
            codec.truncate(&mut source, max_source_len);
            let mut target = codec.encode_target(&tags)?;
            codec.truncate(&mut target, max_target_len);
            sources.push(source.into_iter().map(i64::from).collect());
            let shifted = std::iter::once(config.decoder_start_token_id);
            targets.push(shifted.chain(target.into_iter().map(i64::from)).collect());
        }
        Ok(Self {
            input_ids: padded(&sources, config.pad_token_id),
            attention_mask: padded(&sources.iter().map(|ids| vec![1; ids.len()]).collect::<Vec<_>>(), 0),
            decoder_input_ids: padded(&targets, config.pad_token_id),
        })
    }
}

/// `O`, a label, `I`, `O`, the next label, ...
fn tag(labels: &[String], sentence: usize, word: usize) -> &str {
    match word % 3 {
        0 => "O",
        1 => labels.get((sentence + word / 3) % labels.len().max(1)).map_or("O", String::as_str),
        _ => "I",
    }
}

pub(crate) fn padded(rows: &[Vec<i64>], pad: i64) -> Array2<i64> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    Array2::from_shape_fn((rows.len(), width), |(row, column)| rows[row].get(column).copied().unwrap_or(pad))
}
