//! Offsets in other units than characters.

use super::error::Fault;
use super::options::OffsetUnit;
use super::record::CharSpan;

/// The offsets of a text in one unit.
#[derive(Debug)]
pub struct Offsets {
    unit: OffsetUnit,
    /// Offset of each character and of the end, in the unit; `None` if all characters are ASCII or the unit is characters.
    starts: Option<Vec<usize>>,
    length: usize,
}

impl Offsets {
    /// The offsets of `text` in `unit`.
    pub fn new(text: &str, unit: OffsetUnit) -> Self {
        if unit == OffsetUnit::Chars || text.is_ascii() {
            return Self { unit, starts: None, length: text.chars().count() };
        }
        let mut starts = vec![0];
        let mut at = 0;
        for c in text.chars() {
            at += if unit == OffsetUnit::Bytes { c.len_utf8() } else { c.len_utf16() };
            starts.push(at);
        }
        Self { unit, starts: Some(starts), length: at }
    }

    /// The offset of a character; the number of characters gives the length of the text. A place after the end is the end.
    pub fn of_character(&self, at: usize) -> usize {
        let of = |starts: &Vec<usize>| starts.get(at).copied();
        self.starts.as_ref().map_or(Some(at), of).unwrap_or(self.length).min(self.length)
    }

    /// A range in characters.
    pub(super) fn characters(
        &self,
        what: &'static str,
        start: usize,
        end: usize,
    ) -> Result<(usize, usize), Fault> {
        let (length, unit) = (self.length, self.unit.words());
        if start > end || end > length {
            return Err(Fault::Range { what, start, end, length, unit });
        }
        let Some(starts) = &self.starts else { return Ok((start, end)) };
        match (starts.binary_search(&start), starts.binary_search(&end)) {
            (Ok(start), Ok(end)) => Ok((start, end)),
            _ => {
                let cut = match self.unit {
                    OffsetUnit::Bytes => "bytes (it cuts a character)",
                    _ => "UTF-16 units (it cuts a character)",
                };
                Err(Fault::Range { what, start, end, length, unit: cut })
            }
        }
    }
}

/// A span as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawSpan {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) label: String,
    /// The text that the span says it covers.
    pub(super) text: Option<String>,
}

/// Spans in characters; their own text is compared with what their offsets cut out.
pub(super) fn resolve(text: &str, spans: &[RawSpan], unit: OffsetUnit) -> Result<Vec<CharSpan>, Fault> {
    let failed = match resolve_as(text, spans, unit) {
        Ok(resolved) => match cut_by_chance(text, spans, &resolved, unit) {
            None => return Ok(resolved),
            Some(fault) => fault,
        },
        Err(fault) => fault,
    };
    Err(hinted(failed, unit, |other| resolve_as(text, spans, other).is_ok()))
}

/// The fault of an offset or of a text that does not fit, with a hint. `fits` tells whether all offsets fit in another unit; for offsets
/// without a text that says little.
pub(super) fn hinted(failed: Fault, unit: OffsetUnit, fits: impl Fn(OffsetUnit) -> bool) -> Fault {
    let others = OffsetUnit::ALL.into_iter().filter(|other| *other != unit);
    let fitting = others.filter(|other| fits(*other)).collect::<Vec<_>>();
    let hint = match (&failed, fitting.as_slice()) {
        (
            Fault::SpanText { .. } | Fault::TokenText { .. } | Fault::Range { .. } | Fault::CutsWord { .. },
            [other],
        ) => {
            format!("\nhint: the offsets fit as {}: set `offsets = \"{}\"`", other.words(), other.name())
        }
        (Fault::SpanText { .. }, _) => {
            "\nhint: offsets may count `chars`, `bytes` or `utf16`; here none fits all spans".to_owned()
        }
        _ => String::new(),
    };
    if hint.is_empty() { failed } else { Fault::Hinted { fault: Box::new(failed), hint } }
}

/// A span whose own text fits its offsets, but inside a word, where all spans would be whole words in another unit: short texts
/// such as `a` fit by chance.
fn cut_by_chance(text: &str, spans: &[RawSpan], resolved: &[CharSpan], unit: OffsetUnit) -> Option<Fault> {
    if text.is_ascii() || spans.iter().all(|span| span.text.is_none()) {
        return None;
    }
    let chars: Vec<char> = text.chars().collect();
    let inside =
        |at: usize| at > 0 && at < chars.len() && [at - 1, at].iter().all(|at| chars[*at].is_alphanumeric());
    let cuts = |span: &CharSpan| inside(span.start) || inside(span.end);
    let place = resolved.iter().position(cuts)?;
    let whole = |other: &OffsetUnit| {
        *other != unit && resolve_as(text, spans, *other).is_ok_and(|spans| !spans.iter().any(cuts))
    };
    OffsetUnit::ALL.iter().any(whole).then(|| {
        let RawSpan { start, end, label, .. } = spans[place].clone();
        Fault::CutsWord { label, start, end }
    })
}

fn resolve_as(text: &str, spans: &[RawSpan], unit: OffsetUnit) -> Result<Vec<CharSpan>, Fault> {
    let offsets = Offsets::new(text, unit);
    let bytes = Offsets::new(text, OffsetUnit::Bytes).starts;
    let byte = |at: usize| bytes.as_ref().map_or(at, |starts| starts[at]);
    let resolve = |span: &RawSpan| {
        let (start, end) = offsets.characters("span", span.start, span.end)?;
        if let Some(own) = &span.text {
            let found = &text[byte(start)..byte(end)];
            if own != found {
                let (own, found, label) = (own.clone(), found.to_owned(), span.label.clone());
                return Err(Fault::SpanText { label, start: span.start, end: span.end, own, found });
            }
        }
        Ok(CharSpan { start, end, label: span.label.clone() })
    };
    spans.iter().map(resolve).collect()
}
