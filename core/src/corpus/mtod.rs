//! mTOD (Schuster et al. 2019): 5 tab columns, of which the 2nd holds slots `start:end:label,...`, the 3rd the utterance, the 5th its
//! tokens as JSON. All offsets are characters. Tokens are lower-cased, the utterance is not.

use serde::Deserialize;

use super::align::{parse_flat, tag_slots};
use super::error::Fault;
use super::facebook::{Tokens, Words, columns, json, record};
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
    let characters = Offsets::new(text, OffsetUnit::Chars);
    let (words, offsets) = words(&characters, tokens)?;
    let slots = parse_flat(slots)?;
    for slot in &slots {
        characters.characters("slot", slot.start, slot.end)?;
    }
    let gold = Gold::Tags(tag_slots(&offsets, slots)?);
    Ok(Record { gold, ..record(&line, text, Some((words, offsets))) })
}

/// The utterance and, unless their column is empty, its tokens. Slots are not read.
pub(super) fn parse_to_tag(line: Line) -> Result<Record, Fault> {
    let [_, _, text, _, tokens] = columns(LAYOUT, "5", &line.text)?;
    let is_tokenized = !tokens.trim().is_empty();
    let words = is_tokenized.then(|| words(&Offsets::new(text, OffsetUnit::Chars), tokens)).transpose()?;
    Ok(record(&line, text, words))
}

fn words(characters: &Offsets, tokens: &str) -> Result<Words, Fault> {
    let tokenizations: Tokenizations = json(LAYOUT, tokens)?;
    let tokens = tokenizations.tokenizations.into_iter().next().ok_or(Fault::NoWords)?;
    let offsets = tokens.spans()?;
    for (start, end) in &offsets {
        characters.characters("token", *start, *end)?;
    }
    Ok((tokens.tokens, offsets))
}
