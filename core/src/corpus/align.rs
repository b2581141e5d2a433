//! Labelled spans of a text to the tags of its words.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::error::Fault;
use super::options::{Overlap, SpanAlignment};
use super::record::CharSpan;
use crate::text::words::is_whitespace;

/// Reads `start:end:label,start:end:label,...`; labels may hold colons.
pub(super) fn parse_flat(column: &str) -> Result<Vec<CharSpan>, Fault> {
    let parse = |slot: &str| {
        let mut parts = slot.splitn(3, ':');
        let start = parts.next()?.parse().ok()?;
        let end = parts.next()?.parse().ok()?;
        Some(CharSpan { start, end, label: parts.next()?.to_owned() })
    };
    let slots = column.split(',').filter(|slot| !slot.is_empty());
    slots.map(|slot| parse(slot).ok_or_else(|| Fault::Slot(slot.to_owned()))).collect()
}

/// What became of the spans of some texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanCounts {
    /// Spans that tags were made of.
    pub spans: usize,
    /// Those that begin or end inside a word, and stand for whole words since.
    pub widened: usize,
    /// Those that had white space at an end, which was cut off.
    pub trimmed: usize,
    /// Spans left out because they overlap with one that was kept.
    pub overlapping: usize,
    /// Further copies of a span.
    pub repeated: usize,
}

impl SpanCounts {
    /// Adds the counts of other texts.
    pub fn add(&mut self, other: Self) {
        self.spans += other.spans;
        self.widened += other.widened;
        self.trimmed += other.trimmed;
        self.overlapping += other.overlapping;
        self.repeated += other.repeated;
    }
}

/// Cuts white space off the ends of spans, drops copies, and settles overlaps. The result is ordered.
///
/// # Errors
/// If spans overlap and `overlap` is [`Overlap::Error`].
pub(super) fn settle(
    text: &str,
    mut spans: Vec<CharSpan>,
    overlap: Overlap,
    counts: &mut SpanCounts,
) -> Result<Vec<CharSpan>, Fault> {
    let spaces: Vec<bool> = text.chars().map(is_whitespace).collect();
    for span in &mut spans {
        let (start, end) = (span.start, span.end);
        while span.start < span.end && spaces[span.start] {
            span.start += 1;
        }
        while span.end > span.start && spaces[span.end - 1] {
            span.end -= 1;
        }
        if span.start == span.end {
            // Nothing but white space: an error of its own, with the offsets of the file.
            (span.start, span.end) = (start, end);
        }
        counts.trimmed += usize::from((start, end) != (span.start, span.end));
    }
    let all = spans.len();
    spans.sort_by(|a, b| (a.start, Reverse(a.end), &a.label).cmp(&(b.start, Reverse(b.end), &b.label)));
    spans.dedup();
    counts.repeated += all - spans.len();
    if overlap == Overlap::Longest {
        // A stable order: of equally long spans the first.
        spans.sort_by_key(|span| Reverse(span.end - span.start));
    }
    let mut kept: Vec<CharSpan> = Vec::with_capacity(spans.len());
    let mut taken = Taken::default();
    for span in spans {
        match taken.by(&span, &kept) {
            None => {
                taken.insert(&span, kept.len());
                kept.push(span);
            }
            Some(first) if overlap == Overlap::Error => {
                let first = first.label.clone();
                let hint = "`overlap = \"longest\"` or `\"first\"` keeps one of them";
                return Err(Fault::Overlap { first, second: span.label, at: span.start, hint });
            }
            Some(_) => counts.overlapping += 1,
        }
    }
    kept.sort_by_key(|span| (span.start, span.end));
    Ok(kept)
}

/// The characters that kept spans cover.
#[derive(Default)]
struct Taken {
    /// Start of each kept span, and its place in the list.
    starts: std::collections::BTreeMap<usize, usize>,
}

impl Taken {
    /// A kept span that shares a character with `span`. Empty spans share none.
    fn by<'k>(&self, span: &CharSpan, kept: &'k [CharSpan]) -> Option<&'k CharSpan> {
        let before = self.starts.range(..span.end).next_back();
        before.map(|(_, place)| &kept[*place]).filter(|other| other.end > span.start && span.start < span.end)
    }

    fn insert(&mut self, span: &CharSpan, place: usize) {
        if span.start < span.end {
            self.starts.insert(span.start, place);
        }
    }
}

/// The BIO tags of words at `offsets` (characters, ascending) under `spans` (ordered, without overlap).
///
/// A span tags every word that it touches, so one that ends inside a word takes it all (`tomorrow` in `tomorrow's`). Of two spans
/// that touch one word the first has it and the second begins at its next word: labels stay, and so does the number of spans.
///
/// # Errors
/// If a span is left without a word; if one does not meet word edges and `alignment` is [`SpanAlignment::Error`].
pub(super) fn tag_words(
    offsets: &[(usize, usize)],
    spans: &[CharSpan],
    alignment: SpanAlignment,
    counts: &mut SpanCounts,
) -> Result<Vec<String>, Fault> {
    let mut tags = vec!["O".to_owned(); offsets.len()];
    let mut first = 0;
    for CharSpan { start, end, label } in spans {
        let (start, end) = (*start, *end);
        while first < offsets.len() && offsets[first].1 <= start {
            first += 1;
        }
        let touched = first + offsets[first..].iter().take_while(|(word, _)| *word < end).count();
        let words = &offsets[first..touched];
        let edges = words.first().is_some_and(|word| word.0 == start)
            && words.last().is_some_and(|word| word.1 == end);
        if !edges && !words.is_empty() && alignment == SpanAlignment::Error {
            return Err(Fault::Narrow { label: label.clone(), start, end });
        }
        let mut prefix = 'B';
        for (tag, (word_start, word_end)) in tags[first..touched].iter_mut().zip(words) {
            if *word_start < end && *word_end > start && tag == "O" {
                *tag = format!("{prefix}-{label}");
                prefix = 'I';
            }
        }
        if prefix == 'B' {
            return Err(Fault::NoWordInSlot { label: label.clone(), start, end });
        }
        counts.spans += 1;
        counts.widened += usize::from(!edges);
    }
    Ok(tags)
}

/// The tags of tokens under the slots of a line, as mTOP and mTOD distribute them.
///
/// # Errors
/// If slots overlap, or as [`tag_words`].
pub(super) fn tag_slots(offsets: &[(usize, usize)], mut slots: Vec<CharSpan>) -> Result<Vec<String>, Fault> {
    slots.sort_by_key(|slot| slot.start);
    if let Some(pair) = slots.windows(2).find(|pair| pair[0].end > pair[1].start) {
        let [first, second] = [0, 1].map(|at| pair[at].label.clone());
        return Err(Fault::Overlap { first, second, at: pair[1].start, hint: "spans must be flat" });
    }
    tag_words(offsets, &slots, SpanAlignment::Expand, &mut SpanCounts::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize, label: &str) -> CharSpan {
        CharSpan { start, end, label: label.to_owned() }
    }

    fn kept(spans: &[(usize, usize, &str)], overlap: Overlap) -> (String, SpanCounts) {
        let mut counts = SpanCounts::default();
        let spans = spans.iter().map(|(start, end, label)| span(*start, *end, label)).collect();
        let text = "ab cd ef gh ij kl";
        match settle(text, spans, overlap, &mut counts) {
            Ok(spans) => {
                let show = |span: &CharSpan| format!("{}-{} {}", span.start, span.end, span.label);
                (spans.iter().map(show).collect::<Vec<_>>().join(", "), counts)
            }
            Err(fault) => (fault.to_string(), counts),
        }
    }

    #[test]
    fn overlaps_are_settled_by_policy_and_order_does_not_matter() {
        let spans = [(6, 8, "c"), (0, 5, "a"), (3, 8, "b"), (0, 2, "d")];
        assert_eq!(kept(&spans, Overlap::First).0, "0-5 a, 6-8 c");
        assert_eq!(kept(&spans, Overlap::Longest).0, "0-5 a, 6-8 c");
        let nested = [(0, 2, "a"), (0, 8, "b"), (6, 14, "c")];
        assert_eq!(kept(&nested, Overlap::First).0, "0-8 b");
        assert_eq!(kept(&nested, Overlap::Longest).0, "0-8 b");
        assert_eq!(kept(&nested, Overlap::Longest).1.overlapping, 2);
        let longest = [(0, 5, "a"), (3, 14, "b")];
        assert_eq!(kept(&longest, Overlap::First).0, "0-5 a");
        assert_eq!(kept(&longest, Overlap::Longest).0, "3-14 b");
        assert!(kept(&longest, Overlap::Error).0.starts_with("`a` and `b` overlap at character 3\nhint: "));
    }

    #[test]
    fn copies_and_outer_white_space_are_no_overlap() {
        let (spans, counts) = kept(&[(3, 5, "a"), (3, 5, "a"), (2, 6, "a"), (6, 9, "b")], Overlap::Error);
        assert_eq!(spans, "3-5 a, 6-8 b");
        assert_eq!((counts.repeated, counts.trimmed), (2, 2));
    }

    #[test]
    fn spans_that_miss_word_edges_are_counted_or_refused() {
        let offsets = [(0, 5), (6, 9)];
        let mut counts = SpanCounts::default();
        let spans = [span(0, 4, "a"), span(6, 9, "b")];
        let tags = tag_words(&offsets, &spans, SpanAlignment::Expand, &mut counts).unwrap();
        assert_eq!((tags.join(" ").as_str(), counts.spans, counts.widened), ("B-a B-b", 2, 1));
        let fault = tag_words(&offsets, &spans, SpanAlignment::Error, &mut counts).unwrap_err();
        assert!(fault.to_string().starts_with("span 0:4 (`a`) does not begin and end at word edges\nhint: "));
        let fault = tag_words(&offsets, &[span(5, 6, "a")], SpanAlignment::Expand, &mut counts).unwrap_err();
        assert_eq!(fault.to_string(), "`a` at 5:6 covers no word of its own");
    }
}
