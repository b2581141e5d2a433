//! mTOP (Li et al. 2021): 8 tab columns, of which the 3rd holds flat slots `start:end:SL:X,...`, the 4th the utterance, the 8th its
//! tokens as JSON. All offsets are UTF-8 bytes.

use super::Sentence;
use super::error::{Fault, LineFault};
use super::facebook::{Tokens, columns, json};
use super::slots::{check_range, parse_flat, tag_words};

const LAYOUT: &str = "mtop";

pub(super) fn parse(text: &str) -> Result<Vec<Sentence>, LineFault> {
    let line = |(index, line)| parse_line(index + 1, line).map_err(|fault| (index + 1, fault));
    text.lines().enumerate().map(line).collect()
}

fn parse_line(line: usize, content: &str) -> Result<Sentence, Fault> {
    let [_, _, slots, text, _, _, _, tokens] = columns(LAYOUT, "8", content)?;
    let tokens: Tokens = json(LAYOUT, tokens)?;
    let spans = tokens.spans()?;
    let offsets =
        spans.into_iter().map(|span| characters("token", text, span)).collect::<Result<Vec<_>, _>>()?;
    let mut slots = parse_flat(slots)?;
    for slot in &mut slots {
        (slot.start, slot.end) = characters("slot", text, (slot.start, slot.end))?;
    }
    let tags = tag_words(&offsets, slots)?;
    Ok(Sentence { words: tokens.tokens, tags, text: Some(text.to_owned()), offsets: Some(offsets), line })
}

/// Bytes to characters.
fn characters(what: &'static str, text: &str, (start, end): (usize, usize)) -> Result<(usize, usize), Fault> {
    check_range(what, start, end, (text.len(), "bytes"))?;
    match (text.get(..start), text.get(..end)) {
        (Some(before), Some(through)) => Ok((before.chars().count(), through.chars().count())),
        _ => Err(Fault::Range { what, start, end, length: text.len(), unit: "bytes (it cuts a character)" }),
    }
}
