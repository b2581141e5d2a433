//! Reads a `tokenizer.json` after checking what in it could take unbounded time or memory.
//!
//! The parts around the vocabulary (normalizer, pre-tokenizer, post-processor, decoder) run on every text. A part that
//! inserts text makes each text longer, so the number of such parts and the length of what they insert are limited.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::panics::caught;

/// The largest file in bytes; mT5's, with 250,000 pieces, has 16 MB.
const MAX_BYTES: usize = 64 << 20;
/// The most values in the parts around the vocabulary; T5's have 48.
const MAX_VALUES: usize = 10_000;
/// The longest text in these parts in bytes, but for the table [`CHARSMAP`].
const MAX_TEXT: usize = 4096;
/// The longest text that a part inserts in bytes; T5's is one character.
const MAX_INSERTED: usize = 16;
/// The most parts that insert text.
const MAX_INSERTIONS: usize = 4;
/// SentencePiece's table of characters, which is compiled data; T5's has 316,720 bytes.
const CHARSMAP: &str = "precompiled_charsmap";

/// The parts of a `tokenizer.json` around its vocabulary.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
}

/// What the parts hold so far.
#[derive(Default)]
struct Counts {
    values: usize,
    insertions: usize,
}

/// Reads a `tokenizer.json`.
pub(super) fn read(bytes: &[u8]) -> Result<Tokenizer, tokenizers::Error> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, at most {MAX_BYTES} are read", bytes.len()).into());
    }
    let Parts { normalizer, pre_tokenizer, post_processor, decoder } = serde_json::from_slice(bytes)?;
    let mut counts = Counts::default();
    for (name, part) in [
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("post_processor", post_processor),
        ("decoder", decoder),
    ] {
        check(&part, name, &mut counts)?;
    }
    guarded(|| Tokenizer::from_bytes(bytes))
}

/// Runs the tokenizer. It panics on damaged tables of characters, when they are read or when a text meets the damage.
pub(super) fn guarded<T>(
    work: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T, tokenizers::Error> {
    caught(work).unwrap_or_else(|panic| Err(panic.into()))
}

/// Checks a part, or a value in a part; `field` is its key.
fn check(value: &Value, field: &str, counts: &mut Counts) -> Result<(), String> {
    counts.values += 1;
    if counts.values > MAX_VALUES {
        return Err(format!("the parts around its vocabulary have more than {MAX_VALUES} values"));
    }
    match value {
        Value::String(text) if field == CHARSMAP || text.len() <= MAX_TEXT => Ok(()),
        Value::String(text) => {
            Err(format!("`{field}` is a text of {} bytes, at most {MAX_TEXT} are read", text.len()))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check(value, field, counts)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str);
            let inserted = match kind {
                Some("Prepend") => fields.get("prepend"),
                Some("Replace") => fields.get("content"),
                _ => None,
            };
            if let Some(text) = inserted.and_then(Value::as_str) {
                check_insertion(kind.unwrap_or_default(), text, counts)?;
            }
            fields.iter().try_for_each(|(field, value)| check(value, field, counts))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_insertion(kind: &str, text: &str, counts: &mut Counts) -> Result<(), String> {
    counts.insertions += usize::from(!text.is_empty());
    if text.len() > MAX_INSERTED {
        let length = text.len();
        return Err(format!("`{kind}` inserts a text of {length} bytes, at most {MAX_INSERTED} are allowed"));
    }
    if counts.insertions > MAX_INSERTIONS {
        return Err(format!("more than {MAX_INSERTIONS} of its parts insert text"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn t5(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let text = std::fs::read_to_string("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        change(&mut json);
        read(json.to_string().as_bytes()).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn tokenizers_that_would_take_unbounded_time_are_refused() {
        assert_eq!(t5(|_| ()), Ok(()));
        let prepend = |text: &str| json!({ "type": "Prepend", "prepend": text });
        assert_eq!(t5(|json| json["normalizer"] = prepend("\u{2581}")), Ok(()));
        for (normalizer, reason) in [
            (
                prepend(&"x".repeat(10 << 20)),
                "`Prepend` inserts a text of 10485760 bytes, at most 16 are allowed",
            ),
            (
                json!({ "type": "Sequence", "normalizers": vec![prepend("x"); 5] }),
                "more than 4 of its parts insert text",
            ),
            (
                json!({ "type": "Replace", "pattern": { "Regex": "x".repeat(5000) }, "content": "" }),
                "`Regex` is a text of 5000 bytes, at most 4096 are read",
            ),
            (
                json!({ "type": "Sequence", "normalizers": vec![json!({ "type": "NFC" }); 10_000] }),
                "the parts around its vocabulary have more than 10000 values",
            ),
        ] {
            assert_eq!(t5(|json| json["normalizer"] = normalizer).unwrap_err(), reason);
        }
    }
}
