//! From words to source ids and from what a model gives back to tags, for both kinds of taggers.

use hyperloader_core::format::tagger::{TaggerKind, TaggerMetadata};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::spans::{SpanMode, bio_to_spans, sbio_to_bio, spans_to_bio};
use hyperloader_core::text::target::{Alignment, TargetGrammar};
use hyperloader_core::text::wordpiece::{WordPiece, WordPieceError};

use crate::tagger::SentenceError;

/// A file's tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CodingError {
    /// It is no T5 tokenizer.
    #[error(transparent)]
    SentT(#[from] SentTError),
    /// It is no BERT tokenizer.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
}

/// A tagger's codec.
#[derive(Debug)]
pub(crate) enum Coding {
    /// Of an encoder-decoder: what comes back are the ids of a target.
    SentT {
        codec: SentT,
        /// The tags of the task.
        grammar: TargetGrammar,
        /// Ids in front of each source.
        prefix: Vec<u32>,
    },
    /// Of a token classifier: what comes back are tags by number, one for each source id.
    WordPiece {
        codec: WordPiece,
        /// In the order of their numbers.
        tags: Vec<String>,
    },
}

impl Coding {
    /// The codec of a file.
    pub(crate) fn new(metadata: &TaggerMetadata) -> Result<Self, CodingError> {
        Ok(match metadata.kind {
            TaggerKind::EncoderDecoder => {
                let codec = SentT::from_bytes(metadata.tokenizer.as_bytes())?;
                Self::SentT {
                    prefix: codec.encode_text(&metadata.source_prefix)?,
                    grammar: TargetGrammar::new(&codec, &metadata.labels)?,
                    codec,
                }
            }
            TaggerKind::TokenClassifier => Self::WordPiece {
                codec: WordPiece::from_text(&metadata.tokenizer)?,
                tags: bio_tags(&metadata.labels),
            },
        })
    }

    /// The tokens for padding and for the end of a sentence.
    pub(crate) fn pad_and_end(&self) -> [u32; 2] {
        match self {
            Self::SentT { codec, .. } => [codec.pad(), codec.eos()],
            Self::WordPiece { codec, .. } => [codec.pad(), codec.sep()],
        }
    }

    /// The source of a sentence.
    pub(crate) fn source(&self, words: &[&str]) -> Result<Vec<u32>, SentenceError> {
        match self {
            Self::SentT { codec, .. } if words.len() > codec.max_words() => {
                Err(SentenceError::TooManyWords { words: words.len(), limit: codec.max_words() })
            }
            Self::SentT { codec, prefix, .. } => {
                let source = codec.encode_source(words).map_err(unwritable)?;
                Ok([prefix.as_slice(), &source].concat())
            }
            Self::WordPiece { codec, .. } => Ok(codec.encode(words).map_err(unwritable)?.ids),
        }
    }

    /// Well-formed BIO tags of `words` from what the model gave for their source, and whether it came to an end.
    pub(crate) fn tags(
        &self,
        words: &[&str],
        given: &[u32],
        align: Alignment,
    ) -> Result<(Vec<String>, bool), SentenceError> {
        match self {
            Self::SentT { codec, grammar, .. } => {
                let sbio = grammar.decode_sbio(codec, given, words.len(), align).map_err(unwritable)?;
                Ok((sbio_to_bio(&sbio), given.last() == Some(&codec.eos())))
            }
            Self::WordPiece { codec, tags } => {
                let first = codec.encode(words).map_err(unwritable)?.first;
                let tag = |at: usize| {
                    given.get(at).and_then(|id| tags.get(*id as usize)).map_or("O", String::as_str)
                };
                let found: Vec<&str> = first.into_iter().map(tag).collect();
                let spans = bio_to_spans(&found, SpanMode::Default);
                Ok((spans_to_bio(&spans, words.len()).map_err(unwritable)?, true))
            }
        }
    }
}

fn unwritable(error: impl ToString) -> SentenceError {
    SentenceError::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::words::WordSplitting;
    use serde_json::json;

    use super::*;

    fn coding() -> Coding {
        let vocabulary: serde_json::Map<_, _> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "new", "york", "##s"]
            .iter()
            .enumerate()
            .map(|(id, token)| ((*token).to_owned(), id.into()))
            .collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary,
            },
        });
        let metadata = TaggerMetadata {
            format: 1,
            kind: TaggerKind::TokenClassifier,
            task: "t".into(),
            labels: vec!["city".into(), "food".into()],
            words: WordSplitting::default(),
            word_fit: None,
            max_source_len: 16,
            max_target_len: 0,
            pad_token_id: 0,
            eos_token_id: 3,
            decoder_start_token_id: 0,
            decoder_layers: 0,
            memory: vec![],
            source_prefix: String::new(),
            method: "unipelt-bert".into(),
            run: "r".into(),
            step: 1,
            checkpoint_sha256: String::new(),
            backbone_sha256: String::new(),
            program: String::new(),
            drafter: None,
            tokenizer: tokenizer.to_string(),
        };
        Coding::new(&metadata).unwrap()
    }

    #[test]
    fn a_words_tag_is_that_of_its_first_sub_word_and_tags_are_repaired() {
        let coding = coding();
        let words = ["news", "york", "new"];
        assert_eq!(coding.source(&words).unwrap(), [2, 4, 6, 5, 4, 3]);
        // I-city opens a span, B-food on the further sub-word does not count, I-food after a city opens its own.
        let (tags, complete) = coding.tags(&words, &[0, 2, 3, 2, 4, 0], Alignment::Order).unwrap();
        assert_eq!(tags, ["B-city", "I-city", "B-food"]);
        assert!(complete);
        assert_eq!(coding.pad_and_end(), [0, 3]);
    }
}
