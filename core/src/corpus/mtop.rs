//! mTOP (Li et al. 2021): 8 tab columns, of which the 3rd holds flat slots `start:end:SL:X,...`, the 4th the utterance, the 8th its
//! tokens as JSON. All offsets are UTF-8 bytes.

use super::align::{parse_flat, tag_slots};
use super::error::Fault;
use super::facebook::{Tokens, columns, json};
use super::options::OffsetUnit;
use super::record::{Gold, Record};
use super::source::Line;
use super::units::Offsets;

const LAYOUT: &str = "mtop";

pub(super) fn parse_line(line: Line) -> Result<Record, Fault> {
    let [_, _, slots, text, _, _, _, tokens] = columns(LAYOUT, "8", &line.text)?;
    let tokens: Tokens = json(LAYOUT, tokens)?;
    let spans = tokens.spans()?;
    let bytes = Offsets::new(text, OffsetUnit::Bytes);
    let character = |(start, end)| bytes.characters("token", start, end);
    let offsets = spans.into_iter().map(character).collect::<Result<Vec<_>, _>>()?;
    let mut slots = parse_flat(slots)?;
    for slot in &mut slots {
        (slot.start, slot.end) = bytes.characters("slot", slot.start, slot.end)?;
    }
    let tags = tag_slots(&offsets, slots)?;
    Ok(Record {
        line: line.number,
        text: Some(text.to_owned()),
        words: Some(tokens.tokens),
        offsets: Some(offsets),
        gold: Gold::Tags(tags),
        ..Record::default()
    })
}
