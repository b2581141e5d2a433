//! One JSON value as a record, in the forms of Hugging Face, doccano, Prodigy, Label Studio and spaCy.

use serde_json::{Map, Value};

use super::error::Fault;
use super::label_studio;
use super::options::{Fields, OffsetUnit, ReadOptions};
use super::record::{Gold, LeftOut, Record};
use super::row_spans::{self, describe};
use super::units::{Offsets, hinted, resolve};

const TEXT: [&str; 2] = ["text", "data"];
const TOKENS: [&str; 2] = ["tokens", "words"];
pub(super) const TAGS: [&str; 3] = ["tags", "ner_tags", "labels"];
const SPANS: [&str; 6] = ["spans", "label", "labels", "entities", "ents", "annotations"];

/// The record of a JSON value; its line is not set.
pub(super) fn record(value: Value, options: &ReadOptions) -> Result<Record, Fault> {
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::Array(pair) => spacy_pair(pair)?,
        other => return Err(Fault::Keys { keys: describe(&other).to_owned() }),
    };
    if label_studio::is_task(&fields) {
        return label_studio::record(fields, options);
    }
    if options.to_tag {
        return to_tag(fields, options);
    }
    let left_out = answer(&fields);
    let names = keys(&fields);
    let text = take_text(&mut fields, &options.fields)?;
    let tokens = take(&mut fields, options.fields.tokens.as_deref(), &TOKENS, |value| {
        value.is_array() || value.is_string()
    });
    let tags = match &tokens {
        Some((_, tokens)) if !of_objects(tokens) => {
            take(&mut fields, options.fields.tags.as_deref(), &TAGS, is_tags)
        }
        _ => None,
    };
    let mut record = Record { left_out, ..Record::default() };
    if let (Some((field, tokens)), Some((tag_field, tags))) = (&tokens, &tags) {
        record.words = Some(words(field, tokens)?);
        record.gold = Gold::Tags(self::tags(tag_field, tags, &options.tag_names)?);
        (record.text, record.fields) = (text, fields);
        return Ok(record);
    }
    let Some(text) = text else {
        let Some((field, tokens)) = &tokens else { return Err(Fault::Keys { keys: names }) };
        record.words = Some(words(field, tokens)?);
        record.fields = fields;
        return Ok(record);
    };
    if let Some((field, spans)) = take_spans(&mut fields, options)? {
        record.gold = Gold::Spans(resolve(&text, &row_spans::spans(&field, &spans)?, options.offsets)?);
    }
    if let Some((field, tokens)) = &tokens {
        (record.words, record.offsets) = token_words(field, tokens, &text, options)?;
    }
    (record.text, record.fields) = (Some(text), fields);
    Ok(record)
}

/// The text or the tokens of a record that is to be tagged. Everything else stays among the fields, the tokens too.
fn to_tag(mut fields: Map<String, Value>, options: &ReadOptions) -> Result<Record, Fault> {
    let names = keys(&fields);
    let text = take_text(&mut fields, &options.fields)?;
    let mut record = Record::default();
    let given = options.fields.tokens.as_deref();
    // A cell of a table holds tokens with blanks between them.
    let listed = |value: &Value| value.is_array() || (text.is_none() && value.is_string());
    let usual = || TOKENS.into_iter().find(|name| fields.get(*name).is_some_and(listed));
    match (&text, given.or_else(usual).and_then(|name| Some((name, fields.get(name)?)))) {
        (None, None) => return Err(Fault::Keys { keys: names }),
        (None, Some((field, tokens))) => record.words = Some(words(field, tokens)?),
        (Some(_), None) => {}
        (Some(text), Some((field, tokens))) if given.is_some() || of_objects(tokens) => {
            (record.words, record.offsets) = token_words(field, tokens, text, options)?;
        }
        // Other lists may have such a name too.
        (Some(_), Some((field, tokens))) => record.words = words(field, tokens).ok(),
    }
    (record.text, record.fields) = (text, fields);
    Ok(record)
}

/// `["text", {"entities": [...]}]`.
fn spacy_pair(pair: Vec<Value>) -> Result<Map<String, Value>, Fault> {
    let wrong = |found: &str| Fault::Keys {
        keys: format!("{found} instead of `[\"text\", {{\"entities\": [...]}}]`"),
    };
    match <[Value; 2]>::try_from(pair) {
        Ok([Value::String(text), Value::Object(mut fields)]) => {
            fields.insert("text".to_owned(), text.into());
            Ok(fields)
        }
        Ok(_) => Err(wrong("an array of other values")),
        Err(other) => Err(wrong(&format!("an array of {} values", other.len()))),
    }
}

/// Prodigy's `answer`.
fn answer(fields: &Map<String, Value>) -> Option<LeftOut> {
    match fields.get("answer")?.as_str()? {
        "reject" => Some(LeftOut::Rejected),
        "ignore" => Some(LeftOut::Ignored),
        _ => None,
    }
}

/// Takes the field called `given`, or the first of `usual` whose value `fits`.
fn take(
    fields: &mut Map<String, Value>,
    given: Option<&str>,
    usual: &[&str],
    fits: impl Fn(&Value) -> bool,
) -> Option<(String, Value)> {
    let name = match given {
        Some(name) => name,
        None => usual.iter().find(|name| fields.get(**name).is_some_and(&fits))?,
    };
    Some((name.to_owned(), fields.shift_remove(name)?))
}

fn take_text(fields: &mut Map<String, Value>, names: &Fields) -> Result<Option<String>, Fault> {
    match take(fields, names.text.as_deref(), &TEXT, Value::is_string) {
        None => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text)),
        Some((field, other)) => {
            Err(Fault::Field { field, found: describe(&other).to_owned(), expected: "a text" })
        }
    }
}

/// The field that holds spans. Of several, one must be the only one that is not empty.
fn take_spans(
    fields: &mut Map<String, Value>,
    options: &ReadOptions,
) -> Result<Option<(String, Value)>, Fault> {
    if let Some(given) = &options.fields.spans {
        return Ok(take(fields, Some(given), &[], |_| true).filter(|(_, value)| !value.is_null()));
    }
    let found: Vec<&str> =
        SPANS.into_iter().filter(|name| fields.get(*name).is_some_and(row_spans::looks_like_spans)).collect();
    let filled =
        |name: &&&str| fields.get(**name).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    let filled: Vec<&str> = found.iter().filter(filled).copied().collect();
    let name = match (filled.as_slice(), found.first()) {
        ([first, second, ..], _) => {
            let (first, second) = ((*first).to_owned(), (*second).to_owned());
            return Err(Fault::TwoFields { first, second });
        }
        ([name], _) => *name,
        ([], Some(name)) => *name,
        ([], None) => return unknown_annotation(fields),
    };
    Ok(fields.shift_remove(name).map(|value| (name.to_owned(), value)).filter(|(_, value)| !value.is_null()))
}

/// A text without spans is one in which nothing was marked, unless a field of a usual name holds something else.
fn unknown_annotation(fields: &Map<String, Value>) -> Result<Option<(String, Value)>, Fault> {
    for name in ["spans", "entities", "ents"] {
        if let Some(value) = fields.get(name) {
            let (field, found) = (name.to_owned(), describe(value).to_owned());
            return Err(Fault::Field { field, found, expected: "an array of spans, or null" });
        }
    }
    Ok(None)
}

fn of_objects(tokens: &Value) -> bool {
    tokens.as_array().is_some_and(|tokens| tokens.first().is_some_and(Value::is_object))
}

fn is_tags(value: &Value) -> bool {
    let tag = |value: &Value| value.is_string() || value.is_u64() || value.is_i64();
    value.is_string() || value.as_array().is_some_and(|tags| tags.iter().all(tag))
}

fn words(field: &str, tokens: &Value) -> Result<Vec<String>, Fault> {
    let wrong = |value: &Value| Fault::Field {
        field: field.to_owned(),
        found: format!("an array with {}", describe(value)),
        expected: "an array of texts",
    };
    match tokens {
        // Tables hold several words in a cell.
        Value::String(cell) => Ok(cell.split_whitespace().map(str::to_owned).collect()),
        Value::Array(tokens) => {
            tokens.iter().map(|token| token.as_str().map(str::to_owned).ok_or_else(|| wrong(token))).collect()
        }
        other => Err(wrong(other)),
    }
}

fn tags(field: &str, tags: &Value, names: &[String]) -> Result<Vec<String>, Fault> {
    let tag = |tag: &Value| match tag {
        Value::String(tag) => Ok(tag.clone()),
        Value::Number(number) => {
            let name = number.as_u64().and_then(|number| names.get(usize::try_from(number).ok()?));
            name.cloned().ok_or_else(|| Fault::TagNumber {
                value: number.to_string(),
                names: match names.len() {
                    0 => "`tag_names` is not set".to_owned(),
                    count => format!("`tag_names` has {count}, from 0 on"),
                },
            })
        }
        other => Err(Fault::Field {
            field: field.to_owned(),
            found: format!("an array with {}", describe(other)),
            expected: "an array of tags",
        }),
    };
    match tags {
        Value::String(cell) => Ok(cell.split_whitespace().map(str::to_owned).collect()),
        Value::Array(tags) => tags.iter().map(tag).collect(),
        other => tag(other).map(|tag| vec![tag]),
    }
}

/// The tokens of a text and where they stand.
type Tokens = (Option<Vec<String>>, Option<Vec<(usize, usize)>>);

/// Token objects `{"text", "start", "end"}` (Prodigy, spaCy). Tokens of white space are left out. Plain texts keep no offsets.
fn token_words(field: &str, tokens: &Value, text: &str, options: &ReadOptions) -> Result<Tokens, Fault> {
    if !of_objects(tokens) {
        return Ok((Some(words(field, tokens)?), None));
    }
    let places = |unit| token_places(field, tokens, text, unit);
    let (words, places) = places(options.offsets)
        .map_err(|fault| hinted(fault, options.offsets, |other| places(other).is_ok()))?;
    Ok((Some(words), Some(places)))
}

/// Words, and where each begins and ends in characters.
type Placed = (Vec<String>, Vec<(usize, usize)>);

/// Token objects in one unit. The text that a token says it has is compared with the one at its place.
fn token_places(field: &str, tokens: &Value, text: &str, unit: OffsetUnit) -> Result<Placed, Fault> {
    let offsets = Offsets::new(text, unit);
    let chars: Vec<char> = text.chars().collect();
    let (mut words, mut places) = (Vec::new(), Vec::new());
    for token in tokens.as_array().into_iter().flatten() {
        let number = |key| token.get(key).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
        let (Some(start), Some(end)) = (number("start"), number("end")) else {
            let (field, span) = (field.to_owned(), row_spans::short(token));
            return Err(Fault::Span { field, span, expected: "a token with `start` and `end`" });
        };
        let place = offsets.characters("token", start, end)?;
        let word: String = chars[place.0..place.1].iter().collect();
        if let Some(own) = token.get("text").and_then(Value::as_str).filter(|own| *own != word) {
            return Err(Fault::TokenText { start, end, own: own.to_owned(), found: word });
        }
        if !word.trim().is_empty() {
            words.push(word);
            places.push(place);
        }
    }
    Ok((words, places))
}

/// The keys of a record, for messages.
fn keys(fields: &Map<String, Value>) -> String {
    match fields.len() {
        0 => "no keys".to_owned(),
        _ => {
            let names: Vec<String> = fields.keys().take(12).map(|key| format!("`{key}`")).collect();
            format!("the keys {}", names.join(", "))
        }
    }
}
