//! Spans of predicted tags compared with the spans that a file marks, character by character.
//!
//! Where a file marks spans of a text, the tags of its words are only as good as its words: a span that ends inside a word
//! is wider in the gold tags than in the file, and a score by words counts the wider span as right. This one does not.

use super::record::CharSpan;
use super::sentence::Sentence;
use crate::text::metrics::{Counts, Scores};
use crate::text::spans::{SpanMode, bio_to_spans};

/// The spans that a file marks in a text, and the places of the text's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedText {
    /// Start and end of each word in characters.
    pub words: Vec<(usize, usize)>,
    /// The spans of the file in characters.
    pub spans: Vec<CharSpan>,
}

impl Sentence {
    /// The spans of the file and the places of the words; `None` if the file marks words.
    pub fn marked_text(&self) -> Option<MarkedText> {
        Some(MarkedText { words: self.offsets.clone()?, spans: self.spans.clone()? })
    }
}

impl MarkedText {
    /// The spans of `tags`, the BIO tags of the words, in characters. Tags beyond the last word are left out.
    pub fn predicted<T: AsRef<str>>(&self, tags: &[T]) -> Vec<CharSpan> {
        let place = |word: usize| self.words.get(word);
        let spans = bio_to_spans(tags, SpanMode::Default).into_iter();
        spans
            .filter_map(|span| {
                let (first, last) = (place(span.start)?, place(span.end.checked_sub(1)?)?);
                Some(CharSpan { start: first.0, end: last.1, label: span.label })
            })
            .collect()
    }

    /// Compares the spans of `tags` with those of the file. A span is right if label, first and last character agree.
    pub fn counts<T: AsRef<str>>(&self, tags: &[T]) -> Counts {
        let predicted = self.predicted(tags);
        let correct = predicted.iter().filter(|span| self.spans.contains(span)).count();
        Counts { correct, predicted: predicted.len(), gold: self.spans.len() }
    }
}

/// A sentence with the tags that were predicted for its words.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// The gold BIO tags, one for each word.
    pub gold: &'a [String],
    /// The spans that the file marks in the sentence's text; `None` if the file marks words.
    pub marked: Option<&'a MarkedText>,
    /// The predicted BIO tags, one for each word.
    pub tags: &'a [String],
}

impl Predicted<'_> {
    fn counts(&self) -> Counts {
        match self.marked {
            Some(text) => text.counts(self.tags),
            None => {
                let [gold, predicted] =
                    [self.gold, self.tags].map(|tags| bio_to_spans(tags, SpanMode::Default));
                Counts::of(&gold, &predicted)
            }
        }
    }
}

/// The scores of predicted tags against the spans of files, character by character. A sentence whose words are marked counts
/// word by word, because nothing else is known of it. `None` if no sentence has marked spans.
pub fn exact_scores<'a>(sentences: impl IntoIterator<Item = Predicted<'a>>) -> Option<Scores> {
    let (mut counts, mut is_marked) = (Counts::default(), false);
    for sentence in sentences {
        is_marked |= sentence.marked.is_some();
        counts += sentence.counts();
    }
    is_marked.then(|| counts.scores())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{CorpusSpec, Layout};
    use crate::text::words::{WordRule, WordSplitting};

    fn read(rule: WordRule) -> Sentence {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let text = r#"{"text": "In 2023. Rosa left (Lima).", "spans": [[3, 7, "DATE"], [9, 13, "PER"], [20, 24, "LOC"]]}"#;
        std::fs::write(&path, text).unwrap();
        let words = Some(WordSplitting { rule, lowercase: false });
        let spec = CorpusSpec { words, ..CorpusSpec::new(Layout::Jsonl, &path, Some(path.clone()), &path) };
        spec.read().unwrap().splits.train.remove(0)
    }

    #[test]
    fn a_span_that_was_widened_to_whole_words_is_an_error() {
        for (rule, correct) in [(WordRule::Punctuation, 3), (WordRule::Whitespace, 1)] {
            let sentence = read(rule);
            let text = sentence.marked_text().unwrap();
            assert_eq!(text.counts(&sentence.tags), Counts { correct, predicted: 3, gold: 3 }, "{rule:?}");
        }
    }

    #[test]
    fn labels_and_both_ends_count() {
        let text = MarkedText {
            words: vec![(0, 2), (3, 5), (6, 8)],
            spans: vec![CharSpan { start: 0, end: 5, label: "A".into() }],
        };
        let correct = |tags: [&str; 3]| text.counts(&tags).correct;
        assert_eq!(correct(["B-A", "I-A", "O"]), 1);
        assert_eq!(
            correct(["B-B", "I-B", "O"]) + correct(["B-A", "I-A", "I-A"]) + correct(["B-A", "O", "O"]),
            0
        );
        assert_eq!(text.counts(&["O", "O", "O", "B-A"]), Counts { correct: 0, predicted: 0, gold: 1 });
    }

    #[test]
    fn sentences_without_marked_spans_count_by_words_next_to_those_that_have_them() {
        let text = MarkedText {
            words: vec![(0, 2), (3, 8)],
            spans: vec![CharSpan { start: 3, end: 7, label: "D".into() }],
        };
        let tags = ["O", "B-D"].map(str::to_owned);
        let narrow = Predicted { gold: &tags, marked: Some(&text), tags: &tags };
        let plain = Predicted { marked: None, ..narrow };
        // The marked span ends inside the word, so the predicted one is wrong; the span of words is right.
        let scores = exact_scores([narrow, plain, plain, plain]).unwrap();
        assert_eq!((scores.precision, scores.recall, scores.support), (0.75, 0.75, 4));
        assert_eq!(exact_scores([plain, plain]), None, "no sentence has marked spans");
        assert_eq!(exact_scores([]), None);
    }
}
