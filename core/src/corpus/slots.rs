//! Labelled spans of a text to the tags of its words.

use serde::Deserialize;

use super::error::Fault;

/// A labelled run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Slot {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) label: String,
}

/// Reads `start:end:label,start:end:label,...`; labels may hold colons.
pub(super) fn parse_flat(column: &str) -> Result<Vec<Slot>, Fault> {
    let parse = |slot: &str| {
        let mut parts = slot.splitn(3, ':');
        let start = parts.next()?.parse().ok()?;
        let end = parts.next()?.parse().ok()?;
        Some(Slot { start, end, label: parts.next()?.to_owned() })
    };
    let slots = column.split(',').filter(|slot| !slot.is_empty());
    slots.map(|slot| parse(slot).ok_or_else(|| Fault::Slot(slot.to_owned()))).collect()
}

/// Checks a range against the length of its text.
pub(super) fn check_range(
    what: &'static str,
    start: usize,
    end: usize,
    (length, unit): (usize, &'static str),
) -> Result<(), Fault> {
    if start <= end && end <= length {
        return Ok(());
    }
    Err(Fault::Range { what, start, end, length, unit })
}

/// The BIO tags of words at `offsets` (characters) under `slots`.
///
/// A slot tags every word that it touches, so one that ends inside a word takes it all (`tomorrow` in `tomorrow's`). Of two slots
/// that touch one word the first has it and the second begins at its next word: labels stay, and so does the number of spans.
///
/// # Errors
/// If slots overlap in characters, or one is left without a word.
pub(super) fn tag_words(offsets: &[(usize, usize)], mut slots: Vec<Slot>) -> Result<Vec<String>, Fault> {
    slots.sort_by_key(|slot| slot.start);
    if let Some(pair) = slots.windows(2).find(|pair| pair[0].end > pair[1].start) {
        let [first, second] = [0, 1].map(|at| pair[at].label.clone());
        return Err(Fault::Overlap { first, second, at: pair[1].start });
    }
    let mut tags = vec!["O".to_owned(); offsets.len()];
    for Slot { start, end, label } in slots {
        let mut prefix = 'B';
        for (tag, (word_start, word_end)) in tags.iter_mut().zip(offsets) {
            if *word_start < end && *word_end > start && tag == "O" {
                *tag = format!("{prefix}-{label}");
                prefix = 'I';
            }
        }
        if prefix == 'B' {
            return Err(Fault::NoWordInSlot { label, start, end });
        }
    }
    Ok(tags)
}
