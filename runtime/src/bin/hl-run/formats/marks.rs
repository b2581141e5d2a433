//! A text cut at its spans.

use hyperloader_runtime::{Tagged, TaggedSpan};

/// A piece of a text, and the span that it is.
pub(super) type Piece<'a> = (&'a str, Option<&'a TaggedSpan>);

/// The whole text in pieces, in order.
pub(super) fn pieces(tagged: &Tagged) -> Vec<Piece<'_>> {
    let text = tagged.text.as_str();
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(text.len());
    let mut pieces = Vec::new();
    let mut done = 0;
    for span in &tagged.spans {
        let (start, end) = (byte(span.start).max(done), byte(span.end).max(done));
        if done < start {
            pieces.push((&text[done..start], None));
        }
        pieces.push((&text[start..end], Some(span)));
        done = end;
    }
    if done < text.len() {
        pieces.push((&text[done..], None));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::examples::{alarm, tagged};
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        for sentence in [alarm(), tagged("", &[], &[]), tagged("\u{e9}", &["B-x"], &[(0, 1, "x")])] {
            let found = pieces(&sentence);
            assert_eq!(found.iter().map(|(text, _)| *text).collect::<String>(), sentence.text);
            let marked = found.iter().filter_map(|(text, span)| Some((*text, span.as_ref()?.text.as_str())));
            assert!(marked.clone().all(|(piece, text)| piece == text));
            assert_eq!(marked.count(), sentence.spans.len());
        }
    }
}
