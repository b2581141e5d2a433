//! Sentences to examples within the length limits.

use std::ops::Range;
use std::sync::Arc;

use hyperloader_core::corpus::Sentence;
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::spans::Bio;
use serde::{Deserialize, Serialize};

use super::coding::{Coded, Coding, Limits};
use super::example::Example;
use crate::config::{TooLong, TrainingConfig};

/// The use of examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sentences over a limit are treated as `training.too_long` says.
    Training,
    /// No sentence is left out, and the gold spans of a cut sentence all count. Gold tags do not decide where to cut.
    Evaluation,
}

/// Encodes the sentences of a task and counts what exceeds the limits.
pub(super) struct Encoder<'a> {
    codec: &'a dyn Coding,
    labels: &'a LabelSet,
    /// The ids before each source.
    prefix: Vec<u32>,
    too_long: TooLong,
    limits: Limits,
    pub(super) counts: Counts,
}

/// The numbers of sentences that exceed the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Training sentences that were left out.
    pub skipped: usize,
    /// Sentences or windows that were cut off.
    pub truncated: usize,
    /// Sentences that were cut into windows.
    pub windowed: usize,
}

impl<'a> Encoder<'a> {
    /// An encoder with the limits of `training`; `prefix` goes before each source.
    pub(super) fn new(
        codec: &'a dyn Coding,
        labels: &'a LabelSet,
        prefix: Vec<u32>,
        training: &TrainingConfig,
    ) -> Self {
        let limits = Limits { source: training.max_source_len, target: training.max_target_len };
        let too_long = training.too_long;
        Self { codec, labels, prefix, too_long, limits, counts: Counts::default() }
    }

    /// The examples of a split's sentences, in their order.
    pub(super) fn examples(
        &mut self,
        sentences: &[Sentence],
        purpose: Purpose,
    ) -> Result<Vec<Example>, CodingError> {
        let mut examples = Vec::with_capacity(sentences.len());
        for (index, sentence) in sentences.iter().enumerate() {
            examples.extend(self.sentence(index, sentence, purpose)?);
        }
        Ok(examples)
    }

    /// The examples of the sentence at `index` of a split.
    pub(super) fn sentence(
        &mut self,
        index: usize,
        sentence: &Sentence,
        purpose: Purpose,
    ) -> Result<Vec<Example>, CodingError> {
        let marked = match purpose {
            Purpose::Evaluation => sentence.marked_text().map(Arc::new),
            Purpose::Training => None,
        };
        let windows = match self.too_long {
            TooLong::Window => self.windows(sentence, purpose)?,
            TooLong::Skip | TooLong::Truncate => std::iter::once(0..sentence.words.len()).collect(),
        };
        self.counts.windowed += usize::from(windows.len() > 1);
        let mut examples = Vec::with_capacity(windows.len());
        for window in windows {
            let example = self.example(index, sentence, window, purpose)?;
            examples.extend(example.map(|example| Example { marked: marked.clone(), ..example }));
        }
        Ok(examples)
    }

    fn example(
        &mut self,
        index: usize,
        sentence: &Sentence,
        window: Range<usize>,
        purpose: Purpose,
    ) -> Result<Option<Example>, CodingError> {
        let (words, tags) = (&sentence.words[window.clone()], &sentence.tags[window.clone()]);
        // Words after the last sentinel can be neither encoded nor tagged.
        let readable = words.len().min(self.codec.max_words());
        let read = window.start..window.start + readable;
        let mut coded =
            self.codec.encode(&self.prefix, &words[..readable], &sentence.tags, read, self.labels)?;
        let fits = readable == words.len() && self.codec.fits(&coded, self.limits);
        if !fits && purpose == Purpose::Training && self.too_long == TooLong::Skip {
            self.counts.skipped += 1;
            return Ok(None);
        }
        let is_whole = purpose == Purpose::Evaluation && self.is_whole(sentence, &coded)?;
        self.counts.truncated += usize::from(!fits);
        self.codec.truncate(&mut coded, self.limits);
        let Coded { source, target } = coded;
        let (words, tags) = (words.to_vec(), tags.to_vec());
        Ok(Some(Example { source, target, words, tags, sentence: index, is_whole, marked: None }))
    }

    /// Whether all words of a sentence fit into one window, and `coded` is that window.
    fn is_whole(&self, sentence: &Sentence, coded: &Coded) -> Result<bool, CodingError> {
        let reach = self.reach(&sentence.words, None, 0)?;
        Ok(reach == sentence.words.len() && coded.source.len() <= self.limits.source)
    }

    /// The fewest consecutive ranges of words that each fit the limits. Training windows begin outside spans if possible.
    fn windows(&self, sentence: &Sentence, purpose: Purpose) -> Result<Vec<Range<usize>>, CodingError> {
        let tags = (purpose == Purpose::Training).then_some(&*sentence.tags);
        let inside =
            |at: usize| tags.is_some_and(|tags| matches!(Bio::parse(&tags[at]), Some(Bio::Inside(_))));
        let words = sentence.words.len();
        let mut windows = Vec::new();
        let mut start = 0;
        while start < words {
            let reach = self.reach(&sentence.words, tags, start)?;
            let end = (start + 1..=reach).rev().find(|end| *end == words || !inside(*end)).unwrap_or(reach);
            windows.push(start..end);
            start = end;
        }
        Ok(windows)
    }

    /// The end of the longest window that begins at word `start` and fits, at least one word later. Without `tags`, each tag
    /// counts as short as a tag can be.
    fn reach(&self, words: &[String], tags: Option<&[String]>, start: usize) -> Result<usize, CodingError> {
        // Two tokens besides the words: the last sentinel and `</s>`, or `[CLS]` and `[SEP]`.
        let (mut source, mut target) = (self.prefix.len() + 2, 2);
        for (at, word) in words.iter().enumerate().skip(start) {
            source += self.codec.word_tokens(word)?;
            target += self.codec.tag_tokens(tags, at, at == start)?;
            let fits = at - start < self.codec.max_words()
                && source <= self.limits.source
                && target <= self.limits.target;
            if !fits && at > start {
                return Ok(at);
            }
        }
        Ok(words.len())
    }
}
