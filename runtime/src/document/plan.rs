//! Which words each part of a text has.

use std::ops::Range;

use hyperloader_core::text::sentence_words::SentenceWords;

use super::boundaries::Boundary;

/// Most words that two windows of a sentence share: half of them on each side of the place where their tags are joined.
const OVERLAP: usize = 16;
/// Windows share at most one word in this many.
const SHARE: usize = 3;
/// The same for windows as long as training sentences. They are short, so spans often lie at their ends.
const SHARE_OF_MEDIAN_WINDOWS: usize = 2;

/// A part's limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most words, at least one.
    pub(super) words: usize,
    /// Most tokens of the words together.
    pub(super) tokens: usize,
    /// The words of training sentences, if they are known.
    pub(super) trained: Option<SentenceWords>,
}

/// How a sentence becomes windows.
#[derive(Debug, Clone, Copy)]
struct Windows {
    limits: Limits,
    share: usize,
}

impl Windows {
    /// The windows of a sentence of `words` words. One that is longer than almost all training sentences, probably several whose
    /// ends nothing marks, has windows as long as a usual one.
    fn of(words: usize, limits: Limits) -> Self {
        match limits.trained {
            Some(trained) if words > trained.p99.get() => {
                let words = limits.words.min(trained.median.get());
                Self { limits: Limits { words, ..limits }, share: SHARE_OF_MEDIAN_WINDOWS }
            }
            _ => Self { limits, share: SHARE },
        }
    }
}

/// Words that are tagged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) words: Range<usize>,
    /// Whether the part is a further window of the sentence that the part before has. They may share words.
    pub(super) continues: bool,
}

/// The parts of words that take `lengths` tokens, with `boundaries` before them, and the indices of words that are in no part
/// because they take more tokens than a part may have.
pub(super) fn plan(lengths: &[usize], boundaries: &[Boundary], limits: Limits) -> (Vec<Part>, Vec<usize>) {
    let (mut parts, mut unread) = (vec![], vec![]);
    let mut start = 0;
    while start < lengths.len() {
        if lengths[start] > limits.tokens {
            unread.push(start);
            start += 1;
            continue;
        }
        let ends = |at: &usize| boundaries[*at] == Boundary::Sentence || lengths[*at] > limits.tokens;
        let end = (start + 1..lengths.len()).find(ends).unwrap_or(lengths.len());
        windows(start..end, lengths, boundaries, limits, &mut parts);
        start = end;
    }
    (parts, unread)
}

/// The windows of one sentence, each as long as its limits allow.
fn windows(
    sentence: Range<usize>,
    lengths: &[usize],
    boundaries: &[Boundary],
    limits: Limits,
    parts: &mut Vec<Part>,
) {
    let Windows { limits, share } = Windows::of(sentence.len(), limits);
    let furthest = |start: usize| furthest(start, sentence.end, lengths, limits);
    let mut start = sentence.start;
    // Where the window before ended.
    let mut covered = sentence.start;
    loop {
        let mut end = furthest(start);
        if end < sentence.end {
            // The end of a clause is better than a place inside one.
            let first = covered.max(end.saturating_sub(OVERLAP)).max(start + (end - start) / 2) + 1;
            end = (first..=end).rev().find(|at| boundaries[*at] >= Boundary::Clause).unwrap_or(end);
        }
        parts.push(Part { words: start..end, continues: start > sentence.start });
        if end == sentence.end {
            return;
        }
        let shared = OVERLAP.min((end - start) / share);
        // The next window must reach further, and a word is in at most two windows. A word alone always fits.
        start = (covered.max(end - shared)..end).find(|start| furthest(*start) > end).unwrap_or(end);
        covered = end;
    }
}

/// The end of the longest part from `start`, at most `end`.
fn furthest(start: usize, end: usize, lengths: &[usize], limits: Limits) -> usize {
    let mut tokens = 0;
    let fits = |length: &&usize| {
        tokens += **length;
        tokens <= limits.tokens
    };
    start + lengths[start..end].iter().take(limits.words).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORD: Boundary = Boundary::Word;

    const LIMITS: Limits = Limits { words: 5, tokens: 4, trained: None };

    fn ranges(lengths: &[usize], boundaries: &[Boundary], limits: Limits) -> Vec<Range<usize>> {
        plan(lengths, boundaries, limits).0.into_iter().map(|part| part.words).collect()
    }

    #[test]
    fn sentences_are_parts_and_longer_ones_are_windows_that_overlap() {
        let mut boundaries = vec![WORD; 30];
        boundaries[0] = Boundary::Sentence;
        boundaries[4] = Boundary::Sentence;
        let limits = Limits { words: 12, tokens: 100, trained: None };
        assert_eq!(ranges(&[1; 30], &boundaries, limits), [0..4, 4..16, 12..24, 20..30]);
        // A window ends with a clause if there is one near its end.
        boundaries[14] = Boundary::Clause;
        assert_eq!(ranges(&[1; 30], &boundaries, limits), [0..4, 4..14, 11..23, 19..30]);
    }

    #[test]
    fn words_that_take_too_many_tokens_are_left_out() {
        let (parts, unread) = plan(&[2, 9, 2, 2], &[WORD; 4], LIMITS);
        let ranges: Vec<_> = parts.iter().map(|part| part.words.clone()).collect();
        assert_eq!((ranges, unread), (vec![0..1, 2..4], vec![1]));
        assert!(parts.iter().all(|part| !part.continues));
        assert_eq!(plan(&[9, 9], &[WORD; 2], LIMITS), (vec![], vec![0, 1]));
    }

    #[test]
    fn sentences_longer_than_almost_all_of_training_have_windows_as_long_as_a_usual_one() {
        let mut boundaries = vec![WORD; 20];
        boundaries[0] = Boundary::Sentence;
        let limits = Limits { words: 12, tokens: 100, trained: SentenceWords::of([6, 6, 12]) };
        let whole = 0..12;
        assert_eq!(ranges(&[1; 12], &boundaries, limits), [whole], "as long as a long one");
        assert_eq!(ranges(&[1; 13], &boundaries, limits), [0..6, 3..9, 6..12, 9..13]);
        boundaries[13] = Boundary::Sentence;
        assert_eq!(ranges(&[1; 20], &boundaries, limits), [0..6, 3..9, 6..12, 9..13, 13..20]);
        // Sentences that are not too long may still be over the limits.
        let few = Limits { words: 8, ..limits };
        assert_eq!(ranges(&[1; 12], &boundaries, few), [0..8, 6..12]);
        assert_eq!(ranges(&[1; 13], &boundaries, Limits { words: 4, ..limits })[..2], [0..4, 2..6]);
    }

    proptest! {
        #[test]
        fn parts_hold_every_word_that_fits_and_keep_the_limits(
            words in prop::collection::vec((0usize..9, 0usize..20), 0..200),
            limits in (1usize..30, 1usize..40, prop::collection::vec(0usize..40, 0..3))
                .prop_map(|(words, tokens, trained)| Limits { words, tokens, trained: SentenceWords::of(trained) }),
        ) {
            let (lengths, boundaries): (Vec<usize>, Vec<Boundary>) = words
                .into_iter()
                .map(|(length, boundary)| (length, match boundary { 0 => Boundary::Sentence, 1 | 2 => Boundary::Clause, _ => WORD }))
                .unzip();
            let (parts, unread) = plan(&lengths, &boundaries, limits);
            let mut seen = vec![0; lengths.len()];
            unread.iter().for_each(|word| seen[*word] += 1);
            prop_assert!(unread.iter().all(|word| lengths[*word] > limits.tokens));
            for part in &parts {
                prop_assert!(!part.words.is_empty() && part.words.len() <= limits.words);
                prop_assert!(lengths[part.words.clone()].iter().sum::<usize>() <= limits.tokens);
                prop_assert!(boundaries[part.words.clone()].iter().skip(1).all(|b| *b != Boundary::Sentence));
                part.words.clone().for_each(|word| seen[word] += 1);
            }
            prop_assert!(seen.iter().all(|count| [1, 2].contains(count)), "{seen:?}");
            for pair in parts.windows(2) {
                prop_assert!(pair[0].words.start < pair[1].words.start && pair[0].words.end < pair[1].words.end);
                prop_assert!(pair[1].continues || pair[0].words.end <= pair[1].words.start);
            }
        }
    }
}
