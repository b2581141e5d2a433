//! Sentences as they are given: free text or words.

use hyperloader_core::text::words::{Word, WordRule, WordSplitting, is_whitespace};

use crate::error::SentenceError;
use crate::options::Words;

/// Splits sentences into words.
#[derive(Debug)]
pub(crate) struct Reader {
    /// For sentences that are given as one text.
    of_text: WordSplitting,
    /// For sentences that are given as words.
    of_words: WordSplitting,
}

impl Reader {
    /// A reader that splits texts as `words` says; the task's corpus has words as `splitting` makes them. Words are lower-cased if
    /// the corpus has them so.
    pub(crate) fn new(words: Words, splitting: WordSplitting) -> Self {
        let by = |rule| WordSplitting { rule, ..splitting };
        let of_text = match words {
            Words::Corpus => splitting,
            Words::Unicode => by(WordRule::Unicode),
            Words::PreTokenized => by(WordRule::Whitespace),
        };
        Self { of_text, of_words: by(WordRule::Whitespace) }
    }

    /// How texts are split into words.
    pub(crate) fn splitting(&self) -> WordSplitting {
        self.of_text
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
        let reader = Reader::new(Words::Corpus, WordSplitting::default());
        let (text, words) = reader.join(&["a", "b\u{200b}"]).unwrap();
        assert_eq!((text.as_str(), words.len()), ("a b\u{200b}", 2));
        for bad in ["", " ", "a b", "a\u{a0}"] {
            let error = reader.join(&["a", bad]).unwrap_err();
            assert!(matches!(error, SentenceError::Word { index: 1, word } if word == bad));
        }
    }

    #[test]
    fn texts_are_split_by_the_rule_that_is_asked_for_and_keep_the_corpus_case() {
        let splitting = WordSplitting { rule: WordRule::Punctuation, lowercase: true };
        let split = |words| {
            let words = Reader::new(words, splitting).split("It's 3.5 $A, now");
            words.into_iter().map(|word| word.text).collect::<Vec<_>>().join(" | ")
        };
        assert_eq!(split(Words::Corpus), "it's | 3.5 | $ | a | , | now");
        assert_eq!(split(Words::Unicode), "it's | 3.5 | $ | a | , | now");
        assert_eq!(split(Words::PreTokenized), "it's | 3.5 | $a, | now");
        assert_eq!(Reader::new(Words::Unicode, splitting).splitting().rule, WordRule::Unicode);
    }
}
