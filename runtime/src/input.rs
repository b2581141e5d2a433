//! Sentences as they are given: free text or words.

use hyperloader_core::text::words::{Word, WordRule, WordSplitting, is_whitespace};

use crate::error::SentenceError;
use crate::options::Input;

/// Splits sentences into words.
#[derive(Debug)]
pub(crate) struct Reader {
    /// For sentences that are given as one text.
    of_text: WordSplitting,
    /// For sentences that are given as words.
    of_words: WordSplitting,
}

impl Reader {
    /// A reader for sentences in the form `input`; the task's corpus has words as `splitting` makes them.
    pub(crate) fn new(input: Input, splitting: WordSplitting) -> Self {
        let of_words = WordSplitting { rule: WordRule::Whitespace, ..splitting };
        let of_text = match input {
            Input::Text => splitting,
            Input::Words => of_words,
        };
        Self { of_text, of_words }
    }

    /// The words of a text.
    pub(crate) fn split(&self, text: &str) -> Vec<Word> {
        self.of_text.split(text)
    }

    /// A sentence's words with a space between them, and where they are in this text.
    ///
    /// # Errors
    /// If a word is empty or has white space in it.
    pub(crate) fn join<W: AsRef<str>>(&self, words: &[W]) -> Result<(String, Vec<Word>), SentenceError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let unfit = |word: &&str| word.is_empty() || word.chars().any(is_whitespace);
        if let Some(index) = words.iter().position(unfit) {
            return Err(SentenceError::Word { index, word: words[index].to_owned() });
        }
        let text = words.join(" ");
        let words = self.of_words.split(&text);
        Ok((text, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_text_without_white_space() {
        let reader = Reader::new(Input::Text, WordSplitting::default());
        let (text, words) = reader.join(&["a", "b\u{200b}"]).unwrap();
        assert_eq!((text.as_str(), words.len()), ("a b\u{200b}", 2));
        for bad in ["", " ", "a b", "a\u{a0}"] {
            let error = reader.join(&["a", bad]).unwrap_err();
            assert!(matches!(error, SentenceError::Word { index: 1, word } if word == bad));
        }
    }
}
