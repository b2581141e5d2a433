//! Encoder-decoder: the source is SentT', the output is a target of the [`TargetGrammar`].

use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, TaggerMetadata};
use hyperloader_core::text::scores::{Score, tag_scores, word_scores};
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::spans::sbio_to_bio;
use hyperloader_core::text::target::{Alignment, OUTSIDE, TargetGrammar};

use crate::backend::Backend;
use crate::decode::{Decoder, halves};
use crate::error::{GraphFault, SentenceError};
use crate::halves::Halves;
use crate::model::{Architecture, FieldError, Lengths, Model, Output, Parts, Scores, Source, Tags, Worker};
use crate::options::TaggerOptions;

/// Far more than any exported tagger has: a T5 has 100 sentinels, so its sentences have at most 99 words.
const MAX_TOKENS: usize = 1 << 16;
/// Far more than any T5 has.
const MAX_LAYERS: usize = 1024;

/// The architecture of encoder-decoders.
pub(super) struct T5;

/// The codec of a file.
#[derive(Debug)]
struct T5Model {
    codec: SentT,
    grammar: TargetGrammar,
    /// Ids before the words of each source.
    prefix: Vec<u32>,
    /// The most words that can all get a tag.
    max_words: usize,
}

impl Architecture for T5 {
    fn inputs(&self) -> &'static [&'static str] {
        &[INPUT_IDS, ATTENTION_MASK, DECODER_INPUT_IDS]
    }

    fn check(&self, metadata: &TaggerMetadata, logits: usize) -> Result<(), FieldError> {
        let counts = [
            ("max_target_len", metadata.max_target_len, MAX_TOKENS),
            ("decoder_layers", metadata.decoder_layers, MAX_LAYERS),
        ];
        for (field, value, most) in counts {
            if !(1..=most).contains(&value) {
                let expected = format!("a number from 1 to {most}");
                return Err(FieldError { field, value: value.to_string(), expected });
            }
        }
        let ids = [
            ("pad_token_id", metadata.pad_token_id),
            ("eos_token_id", metadata.eos_token_id),
            ("decoder_start_token_id", metadata.decoder_start_token_id),
        ];
        for (field, id) in ids {
            if usize::try_from(id).map_or(true, |id| id >= logits) {
                let expected = format!("an id of the graph's vocabulary of {logits}");
                return Err(FieldError { field, value: id.to_string(), expected });
            }
        }
        Ok(())
    }

    fn model(&self, metadata: &TaggerMetadata) -> Result<Box<dyn Model>, CodingError> {
        let codec = SentT::from_bytes(metadata.tokenizer.as_bytes())?;
        let prefix = codec.encode_text(&metadata.source_prefix)?;
        let grammar = TargetGrammar::new(&codec, &metadata.labels)?;
        let max_words = max_words(&codec, &grammar, metadata.max_target_len);
        Ok(Box::new(T5Model { grammar, prefix, max_words, codec }))
    }
}

impl Model for T5Model {
    fn pad_and_end(&self) -> [u32; 2] {
        [self.codec.pad(), self.codec.eos()]
    }

    fn source(&self, words: &[&str]) -> Result<Source, SentenceError> {
        let limit = self.codec.max_words();
        if words.len() > limit {
            return Err(SentenceError::TooManyWords { words: words.len(), limit });
        }
        let encode = || {
            let mut marks = vec![self.prefix.len()];
            let mut end = self.prefix.len();
            for word in words {
                end += 1 + self.codec.word(word)?.len();
                marks.push(end);
            }
            Ok(Source { ids: self.codec.encode_prefixed(&self.prefix, words)?, marks })
        };
        encode().map_err(|error: SentTError| CodingError::from(error).into())
    }

    fn max_words(&self) -> usize {
        self.max_words
    }

    fn lengths(&self, words: &[&str]) -> Result<Lengths, CodingError> {
        // Each word has its sentinel before it. One more sentinel and `</s>` follow.
        let words = words
            .iter()
            .map(|word| Ok(1 + self.codec.word(word)?.len()))
            .collect::<Result<_, SentTError>>()?;
        Ok(Lengths { words, other: self.prefix.len() + 2 })
    }

    fn source_of_ids(&self, ids: &[u32]) -> Source {
        Source { marks: self.grammar.sentinels().positions(ids.iter().copied()), ids: ids.to_vec() }
    }

    fn worker(
        &self,
        file: Parts<'_>,
        backend: &Backend,
        options: &TaggerOptions,
    ) -> Result<Box<dyn Worker>, GraphFault> {
        Ok(Box::new(Decoder::new(backend, file, &self.grammar, options)?))
    }

    fn halves(&self, file: Parts<'_>) -> Result<Halves, GraphFault> {
        halves(file, &self.grammar)
    }

    fn tags(&self, _: &Source, words: usize, output: &Output, align: Alignment) -> Result<Tags, CodingError> {
        let Output { ids, scores, .. } = output;
        let written = self.grammar.decode_sbio(&self.codec, ids, words, align)?;
        let scores = match scores.is_empty() {
            true => None,
            false => {
                let places = self.grammar.places(&self.codec, ids, words, align)?;
                Some(Scores { sentence: Score::of(scores), words: word_scores(&places, scores) })
            }
        };
        Ok(Tags { written, complete: ids.last() == Some(&self.grammar.eos()), scores })
    }

    fn bio(&self, written: &[String]) -> Vec<String> {
        sbio_to_bio(written)
    }

    fn tag_scores(&self, bio: &[String], words: &[Score]) -> Vec<Score> {
        tag_scores(bio, words)
    }
}

/// The most words that the vocabulary has sentinels for, and whose target is within its limit if all tags are `O`.
fn max_words(codec: &SentT, grammar: &TargetGrammar, max_target_len: usize) -> usize {
    let each = 1 + grammar.ids(OUTSIDE).len();
    codec.max_words().min(max_target_len.saturating_sub(2) / each).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_the_sentinels_of_the_words_also_if_a_word_is_a_sentinel() {
        let codec = SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        let grammar = TargetGrammar::new(&codec, ["city"]).unwrap();
        let prefix = codec.encode_text("mtop").unwrap();
        let model = T5Model { max_words: max_words(&codec, &grammar, 128), prefix, grammar, codec };
        let plain = model.source(&["wake", "me", "up"]).unwrap();
        assert_eq!(model.source_of_ids(&plain.ids), plain);
        let lengths = model.lengths(&["wake", "me", "up"]).unwrap();
        assert_eq!(lengths.words.iter().sum::<usize>() + lengths.other, plain.ids.len());
        let each = 1 + model.grammar.ids(OUTSIDE).len();
        assert_eq!((model.max_words(), max_words(&model.codec, &model.grammar, 1)), (99.min(126 / each), 1));
        let odd = model.source(&["wake", "<extra_id_1>", "up"]).unwrap();
        let sentinels = odd.marks.iter().map(|&at| model.codec.sentinel_index(odd.ids[at]));
        assert!(sentinels.eq((0..4).map(Some)), "{odd:?}");
        assert_eq!(odd.marks[3] + 2, odd.ids.len());
    }
}
