//! Spans in JSON: `[start, end, label]`, `{"start", "end", "label"}`, `{"start_offset", "end_offset", "label"}`.

use serde_json::Value;

use super::error::Fault;
use super::units::RawSpan;

const START: [&str; 3] = ["start", "start_offset", "begin"];
const END: [&str; 2] = ["end", "end_offset"];
const LABEL: [&str; 6] = ["label", "labels", "entity", "entity_group", "type", "tag"];

const EXPECTED: &str = "`[start, end, \"label\"]` or an object with `start`, `end` and `label`";

/// Whether a field may hold spans: an array of arrays or objects, an empty one, or null.
pub(super) fn looks_like_spans(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(spans) => spans.iter().all(|span| span.is_array() || span.is_object()),
        _ => false,
    }
}

/// The spans of a field.
pub(super) fn spans(field: &str, value: &Value) -> Result<Vec<RawSpan>, Fault> {
    let Value::Array(spans) = value else {
        let (field, found) = (field.to_owned(), describe(value).to_owned());
        return Err(Fault::Field { field, found, expected: "an array of spans" });
    };
    let wrong =
        |value: &Value| Fault::Span { field: field.to_owned(), span: short(value), expected: EXPECTED };
    spans.iter().map(|value| span(value).ok_or_else(|| wrong(value))).collect()
}

/// One span; `None` if it is of another form.
pub(super) fn span(value: &Value) -> Option<RawSpan> {
    match value {
        Value::Array(parts) => match parts.as_slice() {
            [start, end, label] => {
                Some(RawSpan { start: offset(start)?, end: offset(end)?, label: name(label)?, text: None })
            }
            _ => None,
        },
        Value::Object(fields) => {
            let first =
                |names: &[&str]| names.iter().find_map(|name| fields.get(*name).filter(|v| !v.is_null()));
            let text = fields.get("text").and_then(Value::as_str).map(str::to_owned);
            Some(RawSpan {
                start: offset(first(&START)?)?,
                end: offset(first(&END)?)?,
                label: name(first(&LABEL)?)?,
                text,
            })
        }
        _ => None,
    }
}

/// A whole number from 0 on; some tools write `5.0`.
fn offset(value: &Value) -> Option<usize> {
    let whole =
        |number: f64| (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64);
    usize::try_from(value.as_u64().or_else(|| value.as_f64().and_then(whole))?).ok()
}

/// A label, alone or in a list of one.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(label) => Some(label.clone()),
        Value::Array(labels) => match labels.as_slice() {
            [Value::String(label)] => Some(label.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The kind of a JSON value, in words.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value for messages, cut after 80 characters.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
