//! Label Studio's JSON export: tasks with `data` and `annotations`. Its JSON-MIN export has the fields of other exports.

use serde_json::{Map, Value};

use super::error::Fault;
use super::options::ReadOptions;
use super::record::{Gold, LeftOut, Record};
use super::row_spans::{describe, short, span};
use super::units::{RawSpan, resolve};

/// Lists of annotations; `completions` before version 1.0.
const ANNOTATIONS: [&str; 2] = ["annotations", "completions"];

/// Whether an object is a task of the JSON export.
pub(super) fn is_task(fields: &Map<String, Value>) -> bool {
    fields.get("data").is_some_and(Value::is_object)
}

/// The record of a task: its first annotation that was not skipped.
pub(super) fn record(mut task: Map<String, Value>, options: &ReadOptions) -> Result<Record, Fault> {
    if options.to_tag {
        let text = text(task.get("data").unwrap_or(&Value::Null), &[], options)?;
        return Ok(Record { text: Some(text), fields: task, ..Record::default() });
    }
    let annotations = ANNOTATIONS.iter().find_map(|name| task.shift_remove(*name));
    let data = task.shift_remove("data").unwrap_or_default();
    let annotations = match annotations {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(annotations)) => annotations,
        Some(other) => {
            let found = describe(&other).to_owned();
            return Err(Fault::Field { field: "annotations".to_owned(), found, expected: "an array" });
        }
    };
    let skipped = |annotation: &&Value| {
        ["was_cancelled", "skipped"]
            .iter()
            .any(|key| annotation.get(key).and_then(Value::as_bool) == Some(true))
    };
    let chosen = annotations.iter().find(|annotation| !skipped(annotation));
    let results = chosen.and_then(|annotation| annotation.get("result")).and_then(Value::as_array);
    let results: Vec<&Value> = results.into_iter().flatten().filter(|result| is_span(result)).collect();
    let text = text(&data, &results, options)?;
    let spans = results.into_iter().map(|result| {
        let value = result.get("value").unwrap_or(&Value::Null);
        span(value).ok_or_else(|| Fault::Span {
            field: "annotations".to_owned(),
            span: short(value),
            expected: "an object with `start`, `end` and one label in `labels`",
        })
    });
    let spans: Vec<RawSpan> = spans.collect::<Result<_, _>>()?;
    let gold = Gold::Spans(resolve(&text, &spans, options.offsets)?);
    let left_out = match (chosen, annotations.is_empty()) {
        (Some(_), _) => None,
        (None, true) => Some(LeftOut::NotAnnotated),
        (None, false) => Some(LeftOut::Ignored),
    };
    let further_annotations =
        annotations.iter().filter(|annotation| !skipped(annotation)).count().saturating_sub(1);
    if let Value::Object(data) = data {
        task.extend(data.into_iter().filter(|(_, value)| value.as_str() != Some(&text)));
    }
    Ok(Record { text: Some(text), gold, left_out, further_annotations, fields: task, ..Record::default() })
}

/// Results that mark text; relations and choices do not.
fn is_span(result: &Value) -> bool {
    result.get("value").is_some_and(|value| value.get("start").is_some() && value.get("labels").is_some())
}

/// The text of a task: the field asked for, the one that the results name, `text`, or the only text there is.
fn text(data: &Value, results: &[&Value], options: &ReadOptions) -> Result<String, Fault> {
    let named = results.first().and_then(|result| result.get("to_name")).and_then(Value::as_str);
    let texts: Vec<&str> =
        data.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_str).collect();
    let field = |name: &str| data.get(name).and_then(Value::as_str);
    let text = match (&options.fields.text, texts.as_slice()) {
        (Some(name), _) => field(name),
        (None, [only]) => Some(*only),
        (None, _) => field("text").or_else(|| field(named?)),
    };
    text.map(str::to_owned).ok_or_else(|| Fault::Keys {
        keys: format!("`data` with the texts {}", {
            let keys = data.as_object().into_iter().flat_map(Map::keys);
            keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        }),
    })
}
