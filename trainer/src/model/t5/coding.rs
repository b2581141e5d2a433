//! Sentences as SentT' ids, the input and output of a T5 (docs/reference/encodings.md#sentt).

use std::ops::Range;

use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::sentt::SentT;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::spans::{Bio, bio_to_sbio};
use hyperloader_core::text::writable::{WritableError, labels_writable};

use crate::data::coding::{Coded, Coding, Limits};

impl Coding for SentT {
    fn identity(&self) -> String {
        self.sha256().to_owned()
    }

    fn prefix(&self, text: &str) -> Result<Vec<u32>, CodingError> {
        Ok(self.encode_text(text)?)
    }

    fn max_words(&self) -> usize {
        self.max_words()
    }

    fn writes_targets(&self) -> bool {
        true
    }

    fn word_tokens(&self, word: &str) -> Result<usize, CodingError> {
        Ok(1 + self.word(&word)?.len())
    }

    fn tag_tokens(&self, tags: Option<&[String]>, at: usize, first: bool) -> Result<usize, CodingError> {
        let Some(tags) = tags else { return Ok(2) };
        let tag = if first { sbio(tags, at..at + 1) } else { bio_to_sbio(&tags[at..=at]) };
        self.word_tokens(&tag[0])
    }

    fn encode(
        &self,
        prefix: &[u32],
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        _: &LabelSet,
    ) -> Result<Coded, CodingError> {
        let source = self.encode_prefixed(prefix, words)?;
        Ok(Coded { source, target: self.encode_target(&sbio(tags, window))? })
    }

    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError> {
        labels_writable(self, labels)
    }

    fn fits(&self, coded: &Coded, limits: Limits) -> bool {
        coded.source.len() <= limits.source && coded.target.len() <= limits.target
    }

    fn truncate(&self, coded: &mut Coded, limits: Limits) {
        self.truncate(&mut coded.source, limits.source);
        self.truncate(&mut coded.target, limits.target);
    }
}

/// The sBIO tags of a window. If the window begins inside a span, its first tag names the label again: an `I` without a label
/// before it has no meaning.
fn sbio(tags: &[String], window: Range<usize>) -> Vec<String> {
    let mut sbio = bio_to_sbio(&tags[window.clone()]);
    if let (1.., Some(Bio::Inside(label))) =
        (window.start, tags.get(window.start).and_then(|tag| Bio::parse(tag)))
    {
        sbio[..1].fill(label.to_owned());
    }
    sbio
}
