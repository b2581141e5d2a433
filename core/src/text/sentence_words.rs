//! How many words the sentences have that a tagger was trained on.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// Numbers of words of training sentences. A tagger is poor on text that is longer than those, such as several sentences at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentenceWords {
    /// Half of the sentences have at most as many words, half have at least as many.
    pub median: NonZeroUsize,
    /// One sentence in a hundred, or fewer, has more words.
    pub long: NonZeroUsize,
}

impl SentenceWords {
    /// The numbers of sentences with these `words` each; `None` if no sentence has a word.
    pub fn of(words: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut words: Vec<NonZeroUsize> = words.into_iter().filter_map(NonZeroUsize::new).collect();
        words.sort_unstable();
        Some(Self { median: *words.get(words.len() / 2)?, long: *words.get(words.len() * 99 / 100)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_length_of_a_long_sentence_are_found() {
        let numbers = |words: &[usize]| {
            SentenceWords::of(words.iter().copied()).map(|found| (found.median.get(), found.long.get()))
        };
        assert_eq!(numbers(&[9, 3, 5]), Some((5, 9)));
        assert_eq!(numbers(&[4]), Some((4, 4)));
        assert_eq!(numbers(&[0, 7, 2]), Some((7, 7)));
        let two_hundred: Vec<usize> = (1..=200).collect();
        assert_eq!(numbers(&two_hundred), Some((101, 199)));
        assert_eq!(numbers(&[0]), None);
        assert_eq!(numbers(&[]), None);
    }

    #[test]
    fn zero_is_refused() {
        let read = serde_json::from_str::<SentenceWords>;
        assert!(read(r#"{"median": 5, "long": 9}"#).is_ok());
        assert!(read(r#"{"median": 0, "long": 9}"#).is_err());
        assert!(read(r#"{"median": 5}"#).is_err());
    }
}
