//! Texts that are longer than the tagger takes: tagged in parts, whose tags are merged.
//!
//! A text is cut at the ends of its sentences (UAX 29), and each sentence is a part: models are trained on single sentences. A
//! sentence over the limits, or longer than almost all training sentences, becomes windows that share words, so that a span near the end
//! of one window is whole in the next.
//! A text within the limits is one part, whatever it holds, unless [`Split::Sentences`] asks for its sentences.
//!
//! - [`boundaries`]: where sentences and clauses end
//! - [`plan`]: which words each part has
//! - [`merge`]: which part decides the tag of a word that two parts have

mod boundaries;
mod merge;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::scores::Score;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::words::Word;

use self::boundaries::boundaries;
use self::merge::decided;
use self::plan::{Limits, Part, plan};
use crate::error::SentenceError;
use crate::model::{Model, Output, Scores, Source, Tags};
use crate::options::Split;

/// The tags of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextTags {
    /// One well-formed BIO tag for each word; `O` for words in no part.
    pub(crate) bio: Vec<String>,
    /// See [`crate::Tagged::complete`]: whether all parts are.
    pub(crate) complete: bool,
    /// The scores of all words; absent if the parts have none.
    pub(crate) scores: Option<Scores>,
}

/// A text's words in parts that the tagger takes.
#[derive(Debug)]
pub(crate) struct Document {
    /// In order; each word that is read is in one part, or in two that overlap.
    parts: Vec<Part>,
    /// The source of each part.
    sources: Vec<Arc<Source>>,
    words: usize,
    /// See [`Document::is_whole`].
    is_whole: bool,
    /// Indices of words that take more tokens than the tagger does. They are in no part.
    unread: Vec<usize>,
}

impl Document {
    /// The document of `words`, which lie in `text`, for a tagger with this `metadata`, in one part or, as `split` says, in
    /// several.
    ///
    /// # Errors
    /// If there is no word or the tokenizer fails, and, with [`Split::Never`], if the text is over the limits.
    pub(crate) fn new(
        model: &dyn Model,
        metadata: &TaggerMetadata,
        text: &str,
        words: &[Word],
        split: Split,
    ) -> Result<Self, SentenceError> {
        if words.is_empty() {
            return Err(SentenceError::NoWord);
        }
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let in_parts = || Self::in_parts(model, metadata, text, words, &texts);
        let max_source_len = metadata.max_source_len;
        match split {
            Split::Sentences => return in_parts(),
            Split::Long if texts.len() > model.max_words() => return in_parts(),
            Split::Long | Split::Never => {}
        }
        let source = model.source(&texts)?;
        let tokens = source.ids.len();
        match (tokens > max_source_len, split) {
            (true, Split::Never) => Err(SentenceError::TooLong { tokens, limit: max_source_len }),
            (true, _) => in_parts(),
            (false, _) => Ok(Self {
                parts: vec![Part { words: 0..words.len(), continues: false }],
                sources: vec![Arc::new(source)],
                words: words.len(),
                is_whole: texts.len() <= model.max_words(),
                unread: vec![],
            }),
        }
    }

    fn in_parts(
        model: &dyn Model,
        metadata: &TaggerMetadata,
        text: &str,
        words: &[Word],
        texts: &[&str],
    ) -> Result<Self, SentenceError> {
        let lengths = model.lengths(texts)?;
        let tokens = metadata.max_source_len.saturating_sub(lengths.other);
        let limits = Limits { words: model.max_words(), tokens, trained: metadata.sentence_words };
        let (parts, unread) = plan(&lengths.words, &boundaries(text, words), limits);
        let source = |part: &Part| model.source(&texts[part.words.clone()]).map(Arc::new);
        let sources = parts.iter().map(source).collect::<Result<_, _>>()?;
        Ok(Self { parts, sources, words: words.len(), is_whole: false, unread })
    }

    /// The source of each part.
    pub(crate) fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// Whether the text is one sentence within the tagger's limits, and is tagged as one.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The indices of the words that are in no part.
    pub(crate) fn into_unread(self) -> Vec<usize> {
        self.unread
    }

    /// The tags of all words from a worker's output for each part.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub(crate) fn tags(
        &self,
        model: &dyn Model,
        outputs: &[Output],
        align: Alignment,
    ) -> Result<TextTags, CodingError> {
        let rows = self.parts.iter().zip(&self.sources).zip(outputs);
        let tags = rows.map(|((part, source), output)| model.tags(source, part.words.len(), output, align));
        let tags = tags.collect::<Result<Vec<Tags>, _>>()?;
        if let [whole] = &tags[..]
            && whole.written.len() == self.words
        {
            let (bio, scores) = (model.bio(&whole.written), whole.scores.clone());
            return Ok(TextTags { bio, complete: whole.complete, scores });
        }
        let bio: Vec<Vec<String>> = tags.iter().map(|tags| model.bio(&tags.written)).collect();
        let decided = decided(&self.parts, &bio);
        let scores = self.scores(&tags, &decided);
        let mut merged = vec!["O".to_owned(); self.words];
        let mut at = 0;
        while at < self.parts.len() {
            let next = (at + 1..self.parts.len()).find(|next| !self.parts[*next].continues);
            let group = at..next.unwrap_or(self.parts.len());
            let first = self.parts[at].words.start;
            // What the parts of a sentence wrote is read as if one part had written it.
            let mut written = vec![];
            for part in group.clone() {
                let start = self.parts[part].words.start;
                written.extend_from_slice(
                    &tags[part].written[decided[part].start - start..decided[part].end - start],
                );
            }
            for (word, tag) in (first..).zip(model.bio(&written)) {
                merged[word] = tag;
            }
            at = group.end;
        }
        Ok(TextTags { bio: merged, complete: tags.iter().all(|tags| tags.complete), scores })
    }

    /// The scores of the words that each part decides, and the product of the parts' scores. Words that no part reads are not
    /// written.
    fn scores(&self, tags: &[Tags], decided: &[Range<usize>]) -> Option<Scores> {
        let parts = tags.iter().map(|tags| tags.scores.as_ref()).collect::<Option<Vec<_>>>()?;
        if parts.is_empty() {
            return None;
        }
        let mut words = vec![Score::NOT_WRITTEN; self.words];
        for ((part, scores), decided) in self.parts.iter().zip(&parts).zip(decided) {
            let start = part.words.start;
            words[decided.clone()].copy_from_slice(&scores.words[decided.start - start..decided.end - start]);
        }
        let unread = self.unread.iter().map(|_| Score::NOT_WRITTEN);
        Some(Scores { sentence: Score::product(parts.iter().map(|part| part.sentence).chain(unread)), words })
    }
}
