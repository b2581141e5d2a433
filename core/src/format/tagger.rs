//! The metadata of an exported file: the `metadata_props` that `hl-export` writes and `hl-run` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::calibration::Calibration;
use crate::format::packed;
use crate::text::drafter::Transitions;
use crate::text::sentence_words::SentenceWords;
use crate::text::words::{WordFit, WordSplitting};

/// Version of the file's layout that this code writes and reads.
pub const FORMAT: u32 = 2;
const PREFIX: &str = "hyperloader.";

/// Graph input: source ids, `[batch, source_len]`, int64.
pub const INPUT_IDS: &str = "input_ids";
/// Graph input: 1 for a source token, 0 for padding, `[batch, source_len]`, int64.
pub const ATTENTION_MASK: &str = "attention_mask";
/// Graph input: target ids shifted right, `[batch, target_len]`, int64.
pub const DECODER_INPUT_IDS: &str = "decoder_input_ids";
/// Graph output: `[batch, target_len, vocab]`, float32.
pub const LOGITS: &str = "logits";
/// Graph output of taggers with a drafter: the score that each source token adds to each tag (`O`, `I`, the labels) in
/// each role (see [`crate::text::drafter::read_from`]), `[batch, source_len, roles * tags]`, float32.
pub const DRAFT_TAGS: &str = "draft_tags";
/// Inner value: the encoder's output, `[batch, source_len, d_model]`.
pub const ENCODER_HIDDEN_STATES: &str = "encoder_hidden_states";
/// Inner value: the decoder's output after its final norm, `[batch, target_len, d_model]`.
pub const DECODER_HIDDEN_STATES: &str = "decoder_hidden_states";

/// Inner value: the position of each target token as a query of self-attention, `[1, target_len, 1]`, int64.
pub const QUERY_POSITIONS: &str = "query_positions";
/// Inner value: the position of each target token as a key of self-attention, `[1, 1, target_len]`, int64.
pub const KEY_POSITIONS: &str = "key_positions";

/// Inner value: keys of a decoder block's self-attention, `[batch, heads, target_len, d_kv]`.
pub fn self_key(block: usize) -> String {
    format!("self_key.{block}")
}

/// Inner value: values of a decoder block's self-attention, `[batch, heads, target_len, d_kv]`.
pub fn self_value(block: usize) -> String {
    format!("self_value.{block}")
}

/// Inner value: keys of a decoder block's cross-attention, `[batch, heads, source_len, d_kv]`.
pub fn cross_key(block: usize) -> String {
    format!("cross_key.{block}")
}

/// Inner value: values of a decoder block's cross-attention, `[batch, heads, source_len, d_kv]`.
pub fn cross_value(block: usize) -> String {
    format!("cross_value.{block}")
}

/// The kind of model that a file's graph computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaggerKind {
    /// An encoder-decoder that writes tags as text: it has the input `decoder_input_ids` and the output `logits`
    /// `[batch, target_len, vocab]`.
    #[default]
    EncoderDecoder,
    /// An encoder whose states are classified: its output is `logits` `[batch, source_len, tags]`, in the order of
    /// [`crate::text::labels::bio_tags`]. The tag of a word is the one at its first token.
    TokenClassifier,
}

impl TaggerKind {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Inner values: the adapter that a file's generator makes for a decoder block. Each has a leading batch axis: the
/// transposed down matrix `[d_model, bottleneck]`, its bias `[1, bottleneck]`, the transposed up matrix `[bottleneck, d_model]`, its bias
/// `[1, d_model]`.
pub fn generated_adapter(block: usize) -> [String; 4] {
    ["down_weight", "down_bias", "up_weight", "up_bias"].map(|part| format!("generated_{part}.{block}"))
}

/// A file's metadata cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum MetadataError {
    /// The file was not written by `hl-export`.
    #[error(
        "not a HyperLoader tagger: metadata `{PREFIX}format` is missing\nhint: `hl-export --task TASK` writes one"
    )]
    Foreign,
    /// A field is malformed.
    #[error("metadata `{PREFIX}{field}` of the tagger is malformed")]
    Field {
        field: String,
        /// Description of the fault.
        source: serde_json::Error,
    },
    /// The fields do not form the metadata of a tagger: one is missing, or has a value of the wrong type.
    #[error("the metadata of the tagger is incomplete or malformed")]
    Fields(#[source] serde_json::Error),
    /// The file has several tasks.
    #[error("the file has the tasks {}, of which one must be chosen\nhint: name one with `--task`", .0.join(", "))]
    Several(Vec<String>),
    /// The file lacks the task.
    #[error("the file has no task `{task}`, only {}\nhint: name one of them with `--task`", .known.join(", "))]
    Task {
        /// The task that was asked for.
        task: String,
        /// The tasks that it has.
        known: Vec<String>,
    },
    /// The file was written by another version.
    #[error("the tagger's format is {found}, this program reads {FORMAT}\nhint: export it again")]
    Version {
        /// The version found.
        found: u32,
    },
}

/// Everything besides the graph that is needed to run a tagger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggerMetadata {
    /// [`FORMAT`].
    pub format: u32,
    /// The kind of model that the graph computes; an encoder-decoder if absent.
    #[serde(default, skip_serializing_if = "TaggerKind::is_default")]
    pub kind: TaggerKind,
    /// The task's name.
    pub task: String,
    /// Its labels, in the order of a token classifier's logits.
    pub labels: Vec<String>,
    /// How free text is split into words.
    pub words: WordSplitting,
    /// How well that reproduces the tokens of the training corpus; absent if they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_fit: Option<WordFit>,
    /// How many words the training sentences have, by which long sentences are cut; absent if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence_words: Option<SentenceWords>,
    /// Longest source in tokens, `</s>` included.
    pub max_source_len: usize,
    /// Longest target in tokens, `</s>` included; 0 and absent if no target is written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_target_len: usize,
    /// Id of the padding token.
    pub pad_token_id: i64,
    /// Id of the end of a sequence: `</s>` or `[SEP]`.
    pub eos_token_id: i64,
    /// Id of the decoder's first input; the padding token if there is no decoder.
    pub decoder_start_token_id: i64,
    /// Number of decoder blocks, and so of pairs `cross_key.N` and `cross_value.N`; 0 and absent if there is no decoder.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decoder_layers: usize,
    /// Names of further inner values that the decoder reads, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<String>,
    /// Prefix of each source, by which the model knows its task; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_prefix: String,
    /// Name of the method that made the weights.
    pub method: String,
    /// Name of the run that the weights come from.
    pub run: String,
    /// Number of updates done in that run.
    pub step: u64,
    /// SHA-256 of the run's checkpoint.
    pub checkpoint_sha256: String,
    /// SHA-256 of the backbone's weights, as in the run's manifest.
    pub backbone_sha256: String,
    /// Name and version of the exporting program.
    pub program: String,
    /// The drafter's scores of successive tags; its scores of single tags are the output [`DRAFT_TAGS`]. Absent if there is
    /// no drafter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafter: Option<Transitions>,
    /// How the model's scores are calibrated; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The text of the `tokenizer.json`; the property holds it packed (see [`crate::format::packed`]).
    #[serde(with = "packed")]
    pub tokenizer: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl TaggerMetadata {
    /// The fields as `metadata_props`: one `hyperloader.FIELD` each. A value that is not text is JSON.
    ///
    /// # Errors
    /// Only if a field cannot be written as JSON.
    pub fn to_properties(&self) -> Result<BTreeMap<String, String>, MetadataError> {
        let value = serde_json::to_value(self).map_err(MetadataError::Fields)?;
        let fields = value.as_object().cloned().unwrap_or_default();
        Ok(fields
            .into_iter()
            .map(|(name, value)| {
                let text = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                (format!("{PREFIX}{name}"), text)
            })
            .collect())
    }

    /// Reads `metadata_props`.
    ///
    /// # Errors
    /// If they were not written by `hl-export`, are of another format, or a field is missing or malformed.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self, MetadataError> {
        let format = properties.get(&format!("{PREFIX}format")).ok_or(MetadataError::Foreign)?;
        let found = format.parse().map_err(|_| MetadataError::Foreign)?;
        if found != FORMAT {
            return Err(MetadataError::Version { found });
        }
        // The other fields are text, which must not be parsed: a task may be named `7`.
        const JSON: [&str; 15] = [
            "format",
            "labels",
            "words",
            "word_fit",
            "sentence_words",
            "max_source_len",
            "max_target_len",
            "pad_token_id",
            "eos_token_id",
            "decoder_start_token_id",
            "decoder_layers",
            "memory",
            "step",
            "drafter",
            "calibration",
        ];
        let mut fields = Map::new();
        for (key, text) in properties {
            let Some(name) = key.strip_prefix(PREFIX) else {
                continue;
            };
            let value = if JSON.contains(&name) {
                serde_json::from_str(text)
                    .map_err(|source| MetadataError::Field { field: name.to_owned(), source })?
            } else {
                Value::String(text.clone())
            };
            fields.insert(name.to_owned(), value);
        }
        serde_json::from_value(Value::Object(fields)).map_err(MetadataError::Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Outcome;
    use crate::calibration::selection::SelectionTable;
    use crate::calibration::spans::SpanTable;
    use crate::causes::with_causes;
    use crate::text::target::Alignment;
    use crate::text::words::{WordFit, WordRule, WordSplitting};

    fn calibration() -> Calibration {
        let sentences = [(0.9, false), (0.25, true)];
        let sentences = sentences.map(|(score, is_wrong)| Outcome { score, is_wrong });
        Calibration {
            temperature: 1.25,
            alignment: Alignment::Sentinel,
            maps: serde_json::from_str(r#"{"tag": {"a": 1.5, "b": 0.5, "c": -0.25}}"#).unwrap(),
            selection: Some(SelectionTable::new(&sentences, &sentences)),
            spans: Some(SpanTable::new(&[sentences.to_vec()], &[sentences.to_vec()])),
        }
    }

    fn metadata() -> TaggerMetadata {
        TaggerMetadata {
            format: FORMAT,
            kind: TaggerKind::EncoderDecoder,
            task: "7".into(),
            labels: vec!["place".into(), "a\"b".into()],
            words: WordSplitting { rule: WordRule::Punctuation, lowercase: true },
            word_fit: Some(WordFit { splitting: WordSplitting::default(), tokens: 9, reproduced: 7 }),
            sentence_words: SentenceWords::of([4, 9, 30]),
            max_source_len: 128,
            max_target_len: 127,
            pad_token_id: 0,
            eos_token_id: 1,
            decoder_start_token_id: 0,
            decoder_layers: 4,
            memory: vec![],
            source_prefix: String::new(),
            method: "hyperloader".into(),
            run: "null".into(),
            step: 20,
            checkpoint_sha256: "00".into(),
            backbone_sha256: "ff".into(),
            program: "hl-export 0".into(),
            drafter: Some(vec![vec![0.5, -1.0], vec![0.0, 2.25]].try_into().unwrap()),
            calibration: Some(calibration()),
            tokenizer: "{\"version\": 1}".into(),
        }
    }

    #[test]
    fn properties_are_read_back_even_when_text_looks_like_json() {
        let generated =
            TaggerMetadata { memory: vec!["a.0".into()], source_prefix: "7".into(), ..metadata() };
        for metadata in [metadata(), generated] {
            let properties = metadata.to_properties().unwrap();
            assert_eq!(TaggerMetadata::from_properties(&properties).unwrap(), metadata);
        }
    }

    #[test]
    fn a_calibration_that_was_written_before_there_were_maps_is_read() {
        let mut properties = metadata().to_properties().unwrap();
        properties.insert("hyperloader.calibration".into(), r#"{"temperature":1.25}"#.into());
        let calibration = TaggerMetadata::from_properties(&properties).unwrap().calibration.unwrap();
        assert_eq!(calibration, Calibration { temperature: 1.25, ..Calibration::default() });
        let bad = r#"{"temperature":1.25,"maps":{"sentence":{"a":-1,"b":0,"c":0}}}"#;
        properties.insert("hyperloader.calibration".into(), bad.into());
        let error = with_causes(&TaggerMetadata::from_properties(&properties).unwrap_err());
        assert!(error.contains("invalid score map"), "{error}");
    }

    #[test]
    fn a_token_classifier_says_so_and_has_no_decoder() {
        let classifier = TaggerMetadata {
            kind: TaggerKind::TokenClassifier,
            max_target_len: 0,
            decoder_layers: 0,
            ..metadata()
        };
        let properties = classifier.to_properties().unwrap();
        assert_eq!(properties["hyperloader.kind"], "token-classifier");
        assert!(!metadata().to_properties().unwrap().contains_key("hyperloader.kind"));
        assert!(!properties.keys().any(|key| key.contains("layers") || key.contains("target")));
        assert_eq!(TaggerMetadata::from_properties(&properties).unwrap(), classifier);
    }

    #[test]
    fn foreign_newer_and_incomplete_properties_are_refused() {
        let read =
            |p: &BTreeMap<String, String>| with_causes(&TaggerMetadata::from_properties(p).unwrap_err());
        assert!(read(&BTreeMap::new()).contains("not a HyperLoader tagger"));
        let mut properties = metadata().to_properties().unwrap();
        properties.remove("hyperloader.labels");
        assert!(read(&properties).contains("`labels`"));
        properties.insert("hyperloader.format".into(), "99".into());
        assert!(read(&properties).contains("99"));
    }
}
