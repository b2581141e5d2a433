//! JSON Lines: `{"tokens": [...], "tags": [BIO, ...]}`, or `{"text": "...", "spans": [{"start", "end", "label"}]}` with character
//! offsets (which is also what `hl-run` writes). Other fields are ignored, blank lines skipped.

use serde::Deserialize;

use super::Sentence;
use super::error::{Fault, LineFault};
use super::facebook::json;
use super::slots::{Slot, check_range, tag_words};
use crate::text::words::WordSplitting;

const LAYOUT: &str = "jsonl";

#[derive(Deserialize)]
struct Row {
    tokens: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    text: Option<String>,
    spans: Option<Vec<Slot>>,
}

pub(super) fn parse(text: &str, words: WordSplitting) -> Result<Vec<Sentence>, LineFault> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| parse_line(index + 1, line, words).map_err(|fault| (index + 1, fault)))
        .collect()
}

fn parse_line(line: usize, content: &str, splitting: WordSplitting) -> Result<Sentence, Fault> {
    match json(LAYOUT, content)? {
        Row { tokens: Some(words), tags: Some(tags), text, .. } => {
            if words.len() != tags.len() {
                return Err(Fault::Count { words: words.len(), tags: tags.len() });
            }
            Ok(Sentence { words, tags, text, offsets: None, line })
        }
        Row { text: Some(text), spans: Some(spans), .. } => {
            let length = (text.chars().count(), "characters");
            for span in &spans {
                check_range("span", span.start, span.end, length)?;
            }
            let (words, offsets): (Vec<String>, Vec<_>) =
                splitting.split(&text).into_iter().map(|word| (word.text, (word.start, word.end))).unzip();
            let tags = tag_words(&offsets, spans)?;
            Ok(Sentence { words, tags, text: Some(text), offsets: Some(offsets), line })
        }
        _ => Err(Fault::Json {
            layout: LAYOUT,
            reason: "a line needs `tokens` and `tags`, or `text` and `spans`".to_owned(),
        }),
    }
}
