//! What the layouts of mTOP and mTOD share: tab columns, one of which holds the tokens as JSON.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::Fault;
use super::record::Record;
use super::source::Line;

/// Tokens and where they stand in the utterance.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    pub(super) tokens: Vec<String>,
    token_spans: Vec<TokenSpan>,
}

#[derive(Deserialize)]
struct TokenSpan {
    start: usize,
    length: usize,
}

/// Words and their places in the text, in characters.
pub(super) type Words = (Vec<String>, Vec<(usize, usize)>);

/// A record without gold.
pub(super) fn record(line: &Line, text: &str, words: Option<Words>) -> Record {
    let (words, offsets) = words.unzip();
    Record { line: line.number, text: Some(text.to_owned()), words, offsets, ..Record::default() }
}

/// Reads a JSON value of `layout`.
pub(super) fn json<T: DeserializeOwned>(layout: &'static str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Json { layout, reason: error.to_string() })
}

/// Exactly `N` tab-separated columns.
pub(super) fn columns<'a, const N: usize>(
    layout: &'static str,
    want: &'static str,
    line: &'a str,
) -> Result<[&'a str; N], Fault> {
    let columns: Vec<&str> = line.split('\t').collect();
    let got = columns.len();
    columns.try_into().map_err(|_| Fault::Columns { layout, want, got })
}

impl Tokens {
    /// Start and end of each token, in the unit of the file.
    pub(super) fn spans(&self) -> Result<Vec<(usize, usize)>, Fault> {
        let (tokens, spans) = (self.tokens.len(), self.token_spans.len());
        if tokens != spans {
            return Err(Fault::TokenSpans { tokens, spans });
        }
        let ends = |span: &TokenSpan| (span.start, span.start.saturating_add(span.length));
        Ok(self.token_spans.iter().map(ends).collect())
    }
}
