//! How many words the sentences have that a tagger was trained on.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::percentiles::Percentiles;

/// Percentiles of the numbers of words of training sentences. A tagger is poor on text that is longer than those, such as several
/// sentences at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct SentenceWords {
    /// The 50th percentile.
    pub median: NonZeroUsize,
    /// The 99th percentile: at least the median.
    pub p99: NonZeroUsize,
}

/// As it is in a file.
#[derive(Deserialize)]
struct Unchecked {
    median: NonZeroUsize,
    p99: NonZeroUsize,
}

impl TryFrom<Unchecked> for SentenceWords {
    type Error = String;

    fn try_from(Unchecked { median, p99 }: Unchecked) -> Result<Self, String> {
        match median <= p99 {
            true => Ok(Self { median, p99 }),
            false => Err(format!("`median` is {median}, more than `p99`, which is {p99}")),
        }
    }
}

impl SentenceWords {
    /// The percentiles of sentences with these `words` each; `None` if no sentence has a word.
    pub fn of(words: impl IntoIterator<Item = usize>) -> Option<Self> {
        let found = Percentiles::of(words.into_iter().filter(|words| *words > 0).collect());
        Some(Self { median: NonZeroUsize::new(found.p50)?, p99: NonZeroUsize::new(found.p99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_are_those_of_the_corpus_statistics() {
        let numbers = |words: &[usize]| {
            SentenceWords::of(words.iter().copied()).map(|found| (found.median.get(), found.p99.get()))
        };
        assert_eq!(numbers(&[9, 3, 5]), Some((5, 9)));
        assert_eq!(numbers(&[4]), Some((4, 4)));
        assert_eq!(numbers(&[0, 7, 2]), Some((2, 7)), "a sentence without words does not count");
        let hundred: Vec<usize> = (1..=100).collect();
        assert_eq!(numbers(&hundred), Some((50, 99)));
        assert_eq!(numbers(&[0]), None);
        assert_eq!(numbers(&[]), None);
    }

    #[test]
    fn numbers_that_no_training_has_are_refused() {
        let read = serde_json::from_str::<SentenceWords>;
        assert!(read(r#"{"median": 5, "p99": 5}"#).is_ok());
        assert!(read(r#"{"median": 0, "p99": 9}"#).is_err());
        assert!(read(r#"{"median": 5}"#).is_err());
        let error = read(r#"{"median": 99, "p99": 3}"#).unwrap_err().to_string();
        assert!(error.starts_with("`median` is 99, more than `p99`, which is 3"), "{error}");
    }
}
