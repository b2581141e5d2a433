//! Numbers of JSON that do not fit 64 bits, such as `12345678901234567890123`, `0.1234567890123456789` and `1e400`: a record that is
//! tagged keeps them as they are written.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// The value of a text. Numbers beyond the range of a float are null in it; [`exact_fields`] has them.
///
/// # Errors
/// If the text is not JSON.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !is_out_of_range(&error) {
        return Err(error);
    }
    let mut replaced = text.to_owned();
    for (start, token) in Tokens::new(text) {
        if is_number(token)
            && serde_json::from_str::<Number>(token).is_err_and(|error| is_out_of_range(&error))
        {
            // Columns of further errors stay as they are.
            replaced.replace_range(
                start..start + token.len(),
                &format!("{:width$}", "null", width = token.len()),
            );
        }
    }
    serde_json::from_str(&replaced)
}

/// The JSON, without white space, of those fields of the first object in `text` that have a number which [`Value`] does not hold
/// as it is written. `text` is valid JSON.
pub(super) fn exact_fields(text: &str) -> BTreeMap<String, String> {
    let mut exact = BTreeMap::new();
    let mut tokens = Tokens::new(text).map(|(_, token)| token);
    if !tokens.clone().any(is_inexact) || !tokens.any(|token| token == "{") {
        return exact;
    }
    let (mut depth, mut key, mut value, mut inexact) = (1, None, String::new(), false);
    for token in tokens {
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {}
        }
        match &key {
            _ if depth == 0 || (depth == 1 && token == ",") => {
                match (key.take(), inexact) {
                    (Some(key), true) => drop(exact.insert(key, std::mem::take(&mut value))),
                    // Of a name that occurs twice, the last field counts.
                    (Some(key), false) => drop(exact.remove(&key)),
                    (None, _) => {}
                }
                value.clear();
                inexact = false;
                if depth == 0 {
                    break;
                }
            }
            None => key = serde_json::from_str::<String>(token).ok(),
            Some(_) if depth == 1 && token == ":" => {}
            Some(_) => {
                value.push_str(token);
                inexact |= is_inexact(token);
            }
        }
    }
    exact
}

fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("number out of range")
}

fn is_number(token: &str) -> bool {
    token.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Whether a token is a number that is written in another way after it was read.
fn is_inexact(token: &str) -> bool {
    is_number(token)
        && serde_json::from_str::<Number>(token).map_or(true, |number| number.to_string() != token)
}

/// The tokens of JSON with their offsets in bytes: strings, numbers, words, and single brackets, commas and colons.
#[derive(Debug, Clone)]
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let start = self.at + bytes.get(self.at..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let mut end = start + 1;
        match bytes[start] {
            b'"' => {
                let mut escaped = false;
                while let Some(byte) = bytes.get(end) {
                    end += 1;
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {}
            _ => {
                let goes_on = |byte: &&u8| !b"{}[],:\" \t\r\n".contains(byte);
                end += bytes[end..].iter().take_while(goes_on).count();
            }
        }
        self.at = end;
        Some((start, self.text.get(start..end)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> String {
        let fields: Vec<String> =
            exact_fields(text).into_iter().map(|(name, json)| format!("{name}={json}")).collect();
        fields.join(" ")
    }

    #[test]
    fn only_fields_with_numbers_that_do_not_fit_are_kept_as_text() {
        assert_eq!(exact(r#"{"a": 1, "b": -2.5, "c": [0.1, 18446744073709551615], "d": "1e400"}"#), "");
        assert_eq!(
            exact(r#"{"a": 1, "b": [1, {"x": 12345678901234567890123, "y\"": "[1, 2]"}], "c": 1e400 }"#),
            r#"b=[1,{"x":12345678901234567890123,"y\"":"[1, 2]"}] c=1e400"#
        );
        assert_eq!(exact("{\n \"a\": 0.1234567890123456789,\n \"b\": 1\n}"), "a=0.1234567890123456789");
        assert_eq!(exact(r#"["text", {"a": 1E5, "b": -0}]"#), "a=1E5 b=-0");
        assert_eq!(exact(r#"{"a": 1e400, "a": 1}"#), "");
        assert_eq!(exact(r#"{"\u0061": 1e400}"#), "a=1e400");
        assert_eq!(exact("[1e400]"), "");
    }

    #[test]
    fn a_number_out_of_range_is_no_error_and_other_faults_are() {
        assert_eq!(
            parse(r#"{"a": [1e400, "1e400", -1e999], "b": 1}"#).unwrap(),
            serde_json::json!({"a": [null, "1e400", null], "b": 1})
        );
        assert!(parse(r#"{"a": 1e400, "b": }"#).unwrap_err().to_string().contains("column 19"));
        assert!(parse("[1e400, 01]").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[ -~\u{e9}\u{1F600}\n]{0,40}", json in "[\\[\\]{},:\"\\\\0-9eE.+-]{0,40}") {
            for text in [text, json] {
                drop((parse(&text), exact_fields(&text)));
            }
        }
    }
}
