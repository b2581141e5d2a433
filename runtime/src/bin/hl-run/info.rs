//! `hl-run --info`: what a file says about itself.

use hyperloader_core::format::tagger::{TaggerKind, TaggerMetadata};
use hyperloader_runtime::ModelFile;
use serde_json::{Map, Value};

use crate::args::OutputFormat;

/// The metadata as a table for people or one JSON object, with the tokenizer's size in place of its text.
pub(crate) fn describe(file: &ModelFile, format: OutputFormat) -> String {
    let fields = fields(file);
    match format {
        OutputFormat::Jsonl => Value::Object(fields).to_string(),
        OutputFormat::Text => table(&fields),
    }
}

fn fields(file: &ModelFile) -> Map<String, Value> {
    let metadata = file.metadata();
    let small = TaggerMetadata { tokenizer: String::new(), ..metadata.clone() };
    // Text, numbers and lists in a derived shape cannot fail.
    let value = serde_json::to_value(small).unwrap_or_default();
    let mut fields = value.as_object().cloned().unwrap_or_default();
    fields.insert("tokenizer".into(), format!("{} bytes", metadata.tokenizer.len()).into());
    let width = match metadata.kind {
        TaggerKind::EncoderDecoder => "vocab_size",
        TaggerKind::TokenClassifier => "tags",
    };
    fields.insert(width.into(), file.vocab_size().into());
    fields
}

fn table(fields: &Map<String, Value>) -> String {
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, value): (&String, &Value)| format!("{name:width$}  {}", plain(value));
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}
