//! mTOD (Schuster et al. 2019): 5 tab columns, of which the 2nd holds slots `start:end:label,...`, the 3rd the utterance, the 5th its
//! tokens as JSON. All offsets are characters. Tokens are lower-cased, the utterance is not.

use serde::Deserialize;

use super::Sentence;
use super::error::{Fault, LineFault};
use super::facebook::{Tokens, columns, json};
use super::slots::{check_range, parse_flat, tag_words};

const LAYOUT: &str = "mtod";

#[derive(Deserialize)]
struct Tokenizations {
    tokenizations: Vec<Tokens>,
}

pub(super) fn parse(text: &str) -> Result<Vec<Sentence>, LineFault> {
    let line = |(index, line)| parse_line(index + 1, line).map_err(|fault| (index + 1, fault));
    text.lines().enumerate().map(line).collect()
}

fn parse_line(line: usize, content: &str) -> Result<Sentence, Fault> {
    let [_, slots, text, _, tokens] = columns(LAYOUT, "5", content)?;
    let tokenizations: Tokenizations = json(LAYOUT, tokens)?;
    let tokens = tokenizations.tokenizations.into_iter().next().ok_or(Fault::NoWords)?;
    let length = (text.chars().count(), "characters");
    let offsets = tokens.spans()?;
    for (start, end) in &offsets {
        check_range("token", *start, *end, length)?;
    }
    let slots = parse_flat(slots)?;
    for slot in &slots {
        check_range("slot", slot.start, slot.end, length)?;
    }
    let tags = tag_words(&offsets, slots)?;
    Ok(Sentence { words: tokens.tokens, tags, text: Some(text.to_owned()), offsets: Some(offsets), line })
}
