//! mTOP (Li et al. 2021): 8 tab columns, of which the 3rd holds flat slots `start:end:SL:X,...`, the 4th the utterance, the 8th its
//! tokens as JSON. All offsets are UTF-8 bytes.

use super::align::{parse_flat, tag_slots};
use super::error::Fault;
use super::facebook::{Tokens, Words, columns, json, record};
use super::options::OffsetUnit;
use super::record::{Gold, Record};
use super::source::Line;
use super::units::Offsets;

const LAYOUT: &str = "mtop";

pub(super) fn parse_line(line: Line) -> Result<Record, Fault> {
    let [_, _, slots, text, _, _, _, tokens] = columns(LAYOUT, "8", &line.text)?;
    let bytes = Offsets::new(text, OffsetUnit::Bytes);
    let (words, offsets) = words(&bytes, tokens)?;
    let mut slots = parse_flat(slots)?;
    for slot in &mut slots {
        (slot.start, slot.end) = bytes.characters("slot", slot.start, slot.end)?;
    }
    let gold = Gold::Tags(tag_slots(&offsets, slots)?);
    Ok(Record { gold, ..record(&line, text, Some((words, offsets))) })
}

/// The utterance and, unless their column is empty, its tokens. Slots are not read.
pub(super) fn parse_to_tag(line: Line) -> Result<Record, Fault> {
    let [_, _, _, text, _, _, _, tokens] = columns(LAYOUT, "8", &line.text)?;
    let is_tokenized = !tokens.trim().is_empty();
    let words = is_tokenized.then(|| words(&Offsets::new(text, OffsetUnit::Bytes), tokens)).transpose()?;
    Ok(record(&line, text, words))
}

fn words(bytes: &Offsets, tokens: &str) -> Result<Words, Fault> {
    let tokens: Tokens = json(LAYOUT, tokens)?;
    let character = |(start, end)| bytes.characters("token", start, end);
    let offsets = tokens.spans()?.into_iter().map(character).collect::<Result<Vec<_>, _>>()?;
    Ok((tokens.tokens, offsets))
}
