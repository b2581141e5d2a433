//! `hl-run --info`: the metadata of a file.

use anyhow::{Result, bail};
use hyperloader_cli::{Console, Records};
use hyperloader_core::calibration::Calibration;
use hyperloader_core::format::tagger::{TaggerKind, TaggerMetadata};
use hyperloader_runtime::ModelFile;
use serde_json::{Map, Value};

use crate::args::TagArgs;
use crate::models;
use crate::values::Format;

/// Prints the metadata as a table or as one JSON object; of several files, one for each with the file's name. The tokenizer,
/// the drafter and the tables of a calibration appear by their sizes.
pub(crate) fn run(args: &TagArgs, console: &Console) -> Result<()> {
    let format = args.output_format.unwrap_or(Format::Text);
    let Some(format) = format.of_data() else {
        bail!("metadata cannot be printed as `{}`\nhint: use `text`, `json` or `jsonl`", format.name());
    };
    let files = models::files(args)?;
    if let [file] = &files[..] {
        let fields = fields(file)?;
        return console.record(format, &fields, || table(&fields));
    }
    let mut records = Records::new(console, format);
    for (number, file) in files.iter().enumerate() {
        let mut named = Map::new();
        named.insert("file".into(), file.path().display().to_string().into());
        named.extend(fields(file)?);
        let blank = if number > 0 { "\n" } else { "" };
        records.write(&named, || format!("{blank}{}", table(&named)))?;
    }
    records.finish()
}

fn fields(file: &ModelFile) -> Result<Map<String, Value>> {
    let metadata = file.metadata();
    let small = TaggerMetadata { tokenizer: String::new(), drafter: None, ..metadata.clone() };
    let mut fields = serde_json::to_value(small)?.as_object().cloned().unwrap_or_default();
    fields.insert("tokenizer".into(), format!("{} bytes", metadata.tokenizer.len()).into());
    if let Some(calibration) = &metadata.calibration {
        fields.insert("calibration".into(), shortened(calibration)?);
    }
    if let Some(drafter) = &metadata.drafter {
        fields.insert("drafter".into(), format!("classifier of {} tags", drafter.tags()).into());
    }
    let width = match metadata.kind {
        TaggerKind::EncoderDecoder => "vocab_size",
        TaggerKind::TokenClassifier => "tags",
    };
    fields.insert(width.into(), file.vocab_size().into());
    Ok(fields)
}

/// A calibration with the sizes of its tables in place of their rows.
fn shortened(calibration: &Calibration) -> Result<Value> {
    let mut value = serde_json::to_value(calibration)?;
    let sizes = [
        ("selection", calibration.selection.as_ref().map(|table| (table.count(), "sentences"))),
        ("spans", calibration.spans.as_ref().map(|spans| (spans.table.count(), "spans"))),
    ];
    for (name, size) in sizes {
        if let (Some(field), Some((count, of))) = (value.get_mut(name), size) {
            *field = format!("counts of {count} {of}").into();
        }
    }
    Ok(value)
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

#[cfg(test)]
mod tests {
    use hyperloader_core::calibration::Outcome;
    use hyperloader_core::calibration::selection::SelectionTable;
    use hyperloader_core::calibration::spans::SpanTable;

    use super::*;

    #[test]
    fn the_tables_of_a_calibration_appear_by_their_sizes() {
        let right = vec![Outcome { score: 0.9, is_wrong: false }; 50];
        let sentences: Vec<_> = right.iter().map(|span| vec![*span]).collect();
        let calibration = Calibration {
            selection: Some(SelectionTable::new(&right, &right)),
            spans: Some(SpanTable::new(&sentences, &sentences)),
            ..Calibration::default()
        };
        let text = plain(&shortened(&calibration).unwrap());
        assert!(text.contains("selection counts of 50 sentences"), "{text}");
        assert!(text.contains("spans counts of 50 spans"), "{text}");
        assert!(text.contains("temperature 1") && text.len() < 150, "{text}");
    }
}
