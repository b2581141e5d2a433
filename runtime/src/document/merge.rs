//! Which part decides the tag of a word that two parts have.

use std::ops::Range;

use super::plan::Part;

/// The words that each part decides: together all words of the parts, in order. `bio` has the tags of each part.
///
/// Two windows that share words are joined where no span of either window is cut, and of such places at the one that is furthest
/// from the ends of both: the words before it have the tags of the first window, the words after it those of the second. If every
/// place cuts a span, which then is longer than what the windows share, the furthest is taken.
pub(super) fn decided(parts: &[Part], bio: &[Vec<String>]) -> Vec<Range<usize>> {
    let mut decided: Vec<Range<usize>> = parts.iter().map(|part| part.words.clone()).collect();
    for (at, pair) in parts.windows(2).enumerate() {
        if !pair[1].continues {
            continue;
        }
        let shared = pair[1].words.start.max(decided[at].start)..=pair[0].words.end;
        let cuts = |part: usize, place: usize| {
            let inside = place.checked_sub(parts[part].words.start).filter(|inside| *inside > 0);
            inside.and_then(|inside| bio[part].get(inside)).is_some_and(|tag| tag.starts_with("I-"))
        };
        let rank = |place: &usize| {
            let from_ends = (pair[0].words.end - place).min(place.saturating_sub(pair[1].words.start));
            (!cuts(at, *place) && !cuts(at + 1, *place), from_ends)
        };
        let place = shared.max_by_key(rank).unwrap_or(pair[1].words.start);
        decided[at].end = place;
        decided[at + 1].start = place;
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(words: Range<usize>, continues: bool) -> Part {
        Part { words, continues }
    }

    fn tags(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn windows_are_joined_in_the_middle_of_what_they_share() {
        let parts = [part(0..6, false), part(2..8, true), part(8..9, false)];
        let bio = [tags("O O O O O O"), tags("O O O O O O"), tags("O")];
        assert_eq!(decided(&parts, &bio), [0..4, 4..8, 8..9]);
    }

    #[test]
    fn windows_are_not_joined_inside_a_span_of_either() {
        let parts = [part(0..6, false), part(2..8, true)];
        // Word 4 is inside a span of the first window, word 3 inside one of the second.
        let bio = [tags("O O O B-x I-x O"), tags("B-y I-y O O O O")];
        assert_eq!(decided(&parts, &bio), [0..5, 5..8]);
        // A span that is longer than what the windows share is cut where it has most context.
        let bio = [tags("O B-x I-x I-x I-x I-x"), tags("B-x I-x I-x I-x I-x O")];
        assert_eq!(decided(&parts, &bio), [0..4, 4..8]);
    }
}
