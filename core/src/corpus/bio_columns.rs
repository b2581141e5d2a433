//! MIT movie and restaurant corpora (Liu et al. 2013): `TAG<TAB>word`, one or more blank lines between sentences, LF or CRLF.

use super::Sentence;
use super::error::{Fault, LineFault};

pub(super) fn parse(text: &str) -> Result<Vec<Sentence>, LineFault> {
    parse_columns(text, |line| {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            [tag, word] => Ok(Some((word, tag))),
            _ => Err(Fault::Columns { layout: "bio-columns", want: "2 (tag, word)", got: columns.len() }),
        }
    })
}

/// Reads one word a line, with blank lines between sentences. `columns` gives a line's word and tag, or nothing to skip it.
pub(super) fn parse_columns<'a>(
    text: &'a str,
    columns: impl Fn(&'a str) -> Result<Option<(&'a str, &'a str)>, Fault>,
) -> Result<Vec<Sentence>, LineFault> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        let Some((word, tag)) = columns(line).map_err(|fault| (index + 1, fault))? else {
            open = false;
            continue;
        };
        if !open {
            sentences.push(Sentence { line: index + 1, ..Sentence::default() });
            open = true;
        }
        if let Some(sentence) = sentences.last_mut() {
            sentence.words.push(word.to_owned());
            sentence.tags.push(tag.to_owned());
        }
    }
    Ok(sentences)
}
