//! A tagged sentence: tags by word, and spans with the characters of the text.

use std::borrow::Cow;

use hyperloader_core::calibration::map::ScoreMaps;
use hyperloader_core::calibration::spans::highest;
use hyperloader_core::corpus::{OffsetUnit, Offsets};
use hyperloader_core::text::scores::Score;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans};
use hyperloader_core::text::words::Word;
use serde::Serialize;

use crate::scores::{SentenceScores, TagScore};

/// A span of a sentence with its label.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TaggedSpan {
    /// Index of the first character (Unicode scalar value) in the sentence's text.
    pub start: usize,
    /// Index of the character after the last one.
    pub end: usize,
    /// The label.
    pub label: String,
    /// The characters of the text from `start` to `end`.
    pub text: String,
    /// Its score and margin; absent unless [`TaggerOptions::scores`](crate::TaggerOptions::scores).
    #[serde(flatten)]
    pub score: Option<TagScore>,
    /// Whether the file lists no such label: the model wrote other text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// A tagged sentence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tagged {
    /// The sentence as it was given. A sentence that was given as words has a space between them.
    pub text: String,
    /// The words as the model reads them, each with its characters in `text`.
    pub words: Vec<Word>,
    /// A BIO tag for each word.
    pub tags: Vec<String>,
    /// The labeled spans in the order of the text. They do not overlap.
    pub spans: Vec<TaggedSpan>,
    /// Whether the model ended the target itself. If not, the target reached its longest length, and words at the end may
    /// lack their tags. A token classifier always completes. A text that is tagged in parts is complete if all its parts are.
    pub complete: bool,
    /// Indices of words that the model did not read, because each alone takes more tokens than the tagger does. They are tagged `O`.
    pub unread: Vec<usize>,
    /// The scores of the sentence and of its tags; absent unless [`TaggerOptions::scores`](crate::TaggerOptions::scores).
    pub scores: Option<SentenceScores>,
    /// Whether the sentence's score is too low for [`TaggerOptions::guarantee`](crate::TaggerOptions::guarantee), or it was
    /// tagged in parts, for which nothing is guaranteed. Its tags are withheld: all are `O`, and there is no span.
    pub abstained: bool,
    /// Number of spans for which a [`TaggerOptions::guarantee`](crate::TaggerOptions::guarantee) of spans does not hold: their
    /// score is too low, others of the sentence have higher ones, or the text was tagged in parts. They are not in `spans`, and
    /// their tags are `O`.
    pub withheld: usize,
}

impl Tagged {
    /// A text without words: it has no tags and no spans.
    pub fn without_words(text: impl Into<String>) -> Self {
        Self { text: text.into(), complete: true, ..Self::default() }
    }

    /// The spans with offsets in `unit`.
    pub fn spans_in(&self, unit: OffsetUnit) -> Cow<'_, [TaggedSpan]> {
        if unit == OffsetUnit::Chars || self.spans.is_empty() {
            return Cow::Borrowed(&self.spans);
        }
        let offsets = Offsets::new(&self.text, unit);
        let of = |span: &TaggedSpan| TaggedSpan {
            start: offsets.of_character(span.start),
            end: offsets.of_character(span.end),
            ..span.clone()
        };
        self.spans.iter().map(of).collect()
    }

    /// The words as they are in the text: the model may read them in lower case.
    pub fn surfaces(&self) -> Vec<&str> {
        let bytes = Offsets::new(&self.text, OffsetUnit::Bytes);
        let place = |word: &Word| bytes.of_character(word.start)..bytes.of_character(word.end);
        self.words.iter().map(|word| self.text.get(place(word)).unwrap_or_default()).collect()
    }

    /// The sentence with one well-formed BIO tag for each of `words`.
    pub(crate) fn new(text: String, words: Vec<Word>, tags: Vec<String>, complete: bool) -> Self {
        let spans = spans(&text, &words, &tags);
        Self { text, words, tags, spans, complete, ..Self::default() }
    }

    /// The sentence with these scores, mapped by `maps`: that of the whole, of each tag, and of each word, whose products
    /// score the spans.
    pub(crate) fn scored(
        mut self,
        sentence: Score,
        tags: &[Score],
        words: &[Score],
        maps: &ScoreMaps,
    ) -> Self {
        let spans = bio_to_spans(&self.tags, SpanMode::Default);
        for (span, tagged) in spans.iter().zip(&mut self.spans) {
            let of_words = words.get(span.start..span.end).unwrap_or_default();
            tagged.score = Some(TagScore::new(Score::product(of_words.iter().copied()), maps));
        }
        let tags = tags.iter().map(|tag| TagScore::new(*tag, maps)).collect();
        self.scores = Some(SentenceScores { score: maps.of_sentence(sentence.probability()), tags });
        self
    }

    /// The same if its score reaches `threshold`, else without tags.
    pub(crate) fn answered_from(self, threshold: f64) -> Self {
        match self.scores.as_ref().is_some_and(|scores| scores.score >= threshold) {
            true => self,
            false => self.abstain(),
        }
    }

    /// The same without the spans whose score is below `threshold`, and with at most the `most` best of the others.
    pub(crate) fn spans_from(mut self, threshold: f64, most: usize) -> Self {
        let scores: Vec<f64> =
            self.spans.iter().map(|span| span.score.map_or(0.0, |score| score.score)).collect();
        let best = highest(&scores, most);
        let is_given = |at: &usize| best.contains(at) && scores[*at] >= threshold;
        let places = bio_to_spans(&self.tags, SpanMode::Default);
        for (_, place) in places.iter().enumerate().filter(|(at, _)| !is_given(at)) {
            self.tags[place.start..place.end].fill("O".to_owned());
        }
        let before = self.spans.len();
        let spans = std::mem::take(&mut self.spans).into_iter().enumerate();
        self.spans = spans.filter(|(at, _)| is_given(at)).map(|(_, span)| span).collect();
        self.withheld = before - self.spans.len();
        self
    }

    /// The sentence without its tags.
    pub(crate) fn abstain(mut self) -> Self {
        self.abstained = true;
        self.spans.clear();
        self.tags.fill("O".to_owned());
        self
    }

    /// The sentence with the spans marked whose labels are not among `labels`, those of the file.
    pub(crate) fn marked(mut self, labels: &[String]) -> Self {
        self.spans.iter_mut().for_each(|span| span.unknown = !labels.contains(&span.label));
        self
    }
}

/// The spans of `tags` as characters of `text`.
fn spans(text: &str, words: &[Word], tags: &[String]) -> Vec<TaggedSpan> {
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    bio_to_spans(tags, SpanMode::Default)
        .into_iter()
        .map(|span| {
            let (start, end) = (words[span.start].start, words[span.end - 1].end);
            let text = text[bytes[start]..bytes[end]].to_owned();
            TaggedSpan { start, end, label: span.label, text, score: None, unknown: false }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::words::{WordRule, WordSplitting};

    use super::*;

    #[test]
    fn spans_count_characters_and_hold_the_raw_text() {
        let text = "caf\u{e9} in  \u{1F600}Z\u{fc}rich now";
        let words = WordSplitting { rule: WordRule::Whitespace, lowercase: true }.split(text);
        let tags = ["B-what", "O", "B-where", "I-where"].map(str::to_owned);
        let tagged = Tagged::new(text.to_owned(), words, tags.to_vec(), true);
        let chars: Vec<char> = text.chars().collect();
        for span in &tagged.spans {
            assert_eq!(span.text, chars[span.start..span.end].iter().collect::<String>());
        }
        let found = tagged.spans.iter().map(|span| (span.start, span.end, span.label.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), [(0, 4, "what"), (9, 20, "where")]);
        assert_eq!(tagged.spans[1].text, "\u{1F600}Z\u{fc}rich now");
    }
}
