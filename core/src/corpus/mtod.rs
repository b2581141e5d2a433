//! mTOD (Schuster et al. 2019): 5 tab columns, of which the 2nd holds slots `start:end:label,...`, the 3rd the utterance, the 5th its
//! tokens as JSON. All offsets are characters. Tokens are lower-cased, the utterance is not.

use serde::Deserialize;

use super::align::{parse_flat, tag_slots};
use super::error::Fault;
use super::facebook::{Tokens, columns, json};
use super::options::OffsetUnit;
use super::record::{Gold, Record};
use super::source::Line;
use super::units::Offsets;

const LAYOUT: &str = "mtod";

#[derive(Deserialize)]
struct Tokenizations {
    tokenizations: Vec<Tokens>,
}

pub(super) fn parse_line(line: Line) -> Result<Record, Fault> {
    let [_, slots, text, _, tokens] = columns(LAYOUT, "5", &line.text)?;
    let tokenizations: Tokenizations = json(LAYOUT, tokens)?;
    let tokens = tokenizations.tokenizations.into_iter().next().ok_or(Fault::NoWords)?;
    let characters = Offsets::new(text, OffsetUnit::Chars);
    let offsets = tokens.spans()?;
    for (start, end) in &offsets {
        characters.characters("token", *start, *end)?;
    }
    let slots = parse_flat(slots)?;
    for slot in &slots {
        characters.characters("slot", slot.start, slot.end)?;
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
