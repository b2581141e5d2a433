//! SentT' and sBIO: sentences and tag sequences as the ids that a T5 reads and writes (HyperLoader paper, section 3.6).
//!
//! A sentence `w0 w1` is `<extra_id_0> w0 <extra_id_1> w1 <extra_id_2> </s>`, its tags are the same with tags for words. Each word
//! is encoded on its own, with its leading space, so ids never depend on neighbours. One sentinel more than words is needed: T5's
//! 100 sentinels allow 99 words.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use crate::files::{hexadecimal, read_bytes, read_text};
use crate::text::sentinels::Sentinels;
use crate::text::words::split_whitespace;
use crate::text::{sentencepiece, tokenizer};

/// Fewest pieces of the vocabulary of a backbone, besides sentinels and control tokens: enough to write letters and digits.
const MIN_PIECES: usize = 64;

/// Most words whose ids are cached; the seven corpora of the paper have 33,678 distinct words and labels.
const CACHED_WORDS: usize = 1 << 17;

/// A tokenizer cannot be used, or a sentence cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum SentTError {
    /// The tokenizer could not be read.
    #[error("cannot read tokenizer `{}`", path.display())]
    Read {
        /// The file; `<bytes>` if it was given in memory.
        path: PathBuf,
        /// The underlying error.
        source: tokenizers::Error,
    },
    /// The vocabulary lacks a token that SentT' needs.
    #[error("the tokenizer has no token `{0}`\nhint: SentT' needs a T5 vocabulary with its sentinels")]
    MissingToken(String),
    /// The vocabulary cannot write text.
    #[error("`{}` has only {pieces} pieces besides control tokens, expected at least {MIN_PIECES}\nhint: T5's vocabulary has 32,000; fetch the file again", path.display())]
    FewPieces {
        /// The file.
        path: PathBuf,
        /// Pieces of the vocabulary that are not added or special.
        pieces: usize,
    },
    /// The tokenizer gives words after sentinels other ids than separate words.
    #[error(
        "the tokenizer gives a word other ids after a sentinel ({together:?}) than by itself ({apart:?})\n\
         hint: use the tokenizer.json of the original t5-base; one saved from FLAN-T5 or with `legacy=False` does not fit"
    )]
    Unsteady {
        /// Ids of a word between two sentinels, encoded as one text.
        together: Vec<u32>,
        /// Ids of the parts.
        apart: Vec<u32>,
    },
    /// More words than sentinels allow.
    #[error("{words} words but the vocabulary's sentinels allow {limit}\nhint: split the sentence")]
    TooManyWords {
        /// Words of the sentence.
        words: usize,
        /// Most words that can be written.
        limit: usize,
    },
    /// The tokenizer failed.
    #[error("cannot encode `{text}`")]
    Encode {
        text: String,
        /// The tokenizer's reason.
        source: tokenizers::Error,
    },
    /// The tokenizer failed.
    #[error("cannot decode ids")]
    Decode(#[source] tokenizers::Error),
}

/// The text of a `tokenizer.json`, or that of T5's original vocabulary `spiece.model`, as transformers converts it. A file is
/// taken for the latter if its name ends with `.model`.
///
/// # Errors
/// If the file cannot be read, or is no vocabulary of T5's kind.
pub fn tokenizer_json(path: &Path) -> Result<String, SentTError> {
    let read = |source: tokenizers::Error| SentTError::Read { path: path.to_owned(), source };
    if path.extension().is_none_or(|extension| extension != "model") {
        return read_text(path).map_err(|error| read(error.source.into()));
    }
    let bytes = read_bytes(path, sentencepiece::MAX_BYTES).map_err(|error| read(error.source.into()))?;
    sentencepiece::to_json(&bytes).map_err(|error| read(error.into()))
}

/// The codec: a T5 `tokenizer.json` and its sentinels. Tags are decoded by [`crate::text::target::TargetGrammar`].
#[derive(Debug)]
pub struct SentT {
    tokenizer: Tokenizer,
    sentinels: Arc<Sentinels>,
    pad: u32,
    eos: u32,
    sha256: String,
    cache: RwLock<HashMap<String, Arc<[u32]>>>,
}

impl SentT {
    /// Reads a `tokenizer.json` or T5's original vocabulary, `spiece.model` ([`tokenizer_json`]).
    ///
    /// # Errors
    /// If the file cannot be read, is no tokenizer, has too few pieces, lacks `<pad>`, `</s>` or sentinels, or treats words after
    /// sentinels differently.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SentTError> {
        let path = path.as_ref();
        let read = |source: tokenizers::Error| SentTError::Read { path: path.to_owned(), source };
        let json = tokenizer_json(path)?;
        let tokenizer = tokenizer::read(json.as_bytes()).map_err(read)?;
        match pieces(&tokenizer) {
            pieces @ ..MIN_PIECES => Err(SentTError::FewPieces { path: path.to_owned(), pieces }),
            _ => Self::new(tokenizer, json.as_bytes()),
        }
    }

    /// Reads a `tokenizer.json` in memory.
    ///
    /// # Errors
    /// As [`SentT::from_file`], but for the number of pieces.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SentTError> {
        let read = |source| SentTError::Read { path: "<bytes>".into(), source };
        Self::new(tokenizer::read(bytes).map_err(read)?, bytes)
    }

    fn new(mut tokenizer: Tokenizer, json: &[u8]) -> Result<Self, SentTError> {
        tokenizer.with_padding(None);
        // Removing a truncation cannot fail; the result is only a reference for chaining.
        let _ = tokenizer.with_truncation(None);
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| SentTError::MissingToken(token.to_owned()))
        };
        let (first, second) = (id(&Sentinels::text(0))?, id(&Sentinels::text(1))?);
        let sentinels = (0..).map_while(|k| tokenizer.token_to_id(&Sentinels::text(k))).collect();
        let sentinels = Arc::new(Sentinels::new(sentinels));
        let (pad, eos) = (id("<pad>")?, id("</s>")?);
        let sha256 = hexadecimal(&Sha256::digest(json));
        let codec = Self { tokenizer, sentinels, pad, eos, sha256, cache: RwLock::default() };
        let together = codec.encode_text(&codec.source_text(&["word"]))?;
        let apart = [&[first], &*codec.word(&"word")?, &[second]].concat();
        if together != apart {
            return Err(SentTError::Unsteady { together, apart });
        }
        Ok(codec)
    }

    /// The SHA-256 of the `tokenizer.json`, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// One past the largest id, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The sentinels of the vocabulary, up to the first that is missing.
    pub fn sentinels(&self) -> &Arc<Sentinels> {
        &self.sentinels
    }

    /// The id of `<extra_id_k>`, if the vocabulary has it.
    pub fn sentinel(&self, k: usize) -> Option<u32> {
        self.sentinels.id(k)
    }

    /// `k` of the sentinel `<extra_id_k>` with this id; `None` if `id` is not a sentinel.
    pub fn sentinel_index(&self, id: u32) -> Option<usize> {
        self.sentinels.index(id)
    }

    /// The id of `<pad>`, which also starts the decoder's input.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The id of `</s>`.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The most words that a sentence can have: one fewer than there are sentinels (99 for T5).
    pub fn max_words(&self) -> usize {
        self.sentinels.max_words()
    }

    /// `s0 w0 s1 w1 ... sL </s>` for the words of a sentence.
    ///
    /// # Errors
    /// If there are more words than [`SentT::max_words`].
    pub fn encode_source<W: AsRef<str>>(&self, words: &[W]) -> Result<Vec<u32>, SentTError> {
        if words.len() > self.max_words() {
            return Err(SentTError::TooManyWords { words: words.len(), limit: self.max_words() });
        }
        let mut ids = Vec::with_capacity(4 * words.len() + 2);
        for (word, sentinel) in words.iter().zip(self.sentinels.ids()) {
            ids.push(*sentinel);
            ids.extend_from_slice(&self.word(word)?);
        }
        ids.extend(self.sentinel(words.len()));
        ids.push(self.eos);
        Ok(ids)
    }

    /// `s0 t0 s1 t1 ... sL </s>` for a sentence's sBIO tags.
    ///
    /// # Errors
    /// As [`SentT::encode_source`].
    pub fn encode_target<T: AsRef<str>>(&self, sbio: &[T]) -> Result<Vec<u32>, SentTError> {
        self.encode_source(sbio)
    }

    /// Ids of a text as it stands, without `</s>`: a prefix, or a rendered sentence of more words than [`SentT::max_words`].
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, SentTError> {
        let encode = |source| SentTError::Encode { text: text.to_owned(), source };
        Ok(tokenizer::guarded(|| self.tokenizer.encode_fast(text, false)).map_err(encode)?.get_ids().to_vec())
    }

    /// Ids of one word or tag by itself, with its leading space. May be empty (U+200B) or hold special ids (`</s>`).
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn word(&self, word: &impl AsRef<str>) -> Result<Arc<[u32]>, SentTError> {
        let word = word.as_ref();
        if let Some(ids) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            return Ok(Arc::clone(ids));
        }
        let ids: Arc<[u32]> = self.encode_text(word)?.into();
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() < CACHED_WORDS {
            cache.insert(word.to_owned(), Arc::clone(&ids));
        }
        Ok(ids)
    }

    /// The text that [`SentT::encode_source`] stands for, without `</s>`. Words past the last sentinel are followed by plain text
    /// that looks like one, as in the reference implementation.
    pub fn source_text<W: AsRef<str>>(&self, words: &[W]) -> String {
        let mut text = Sentinels::text(0);
        for (k, word) in words.iter().enumerate() {
            text.push_str(&format!(" {} {}", word.as_ref(), Sentinels::text(k + 1)));
        }
        text
    }

    /// The text that [`SentT::encode_target`] stands for.
    pub fn target_text<T: AsRef<str>>(&self, sbio: &[T]) -> String {
        self.source_text(sbio)
    }

    /// The text of ids without special ones: sentinels, `<pad>`, `</s>` and `<unk>` vanish, as do ids that the vocabulary lacks.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, SentTError> {
        tokenizer::guarded(|| self.tokenizer.decode(ids, true)).map_err(SentTError::Decode)
    }

    /// The text of ids, split at white space as the reference implementation splits it. Text before and after a special
    /// id is joined unless the vocabulary's pieces begin with a space.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode_words(&self, ids: &[u32]) -> Result<Vec<String>, SentTError> {
        let words = split_whitespace(&self.decode(ids)?);
        Ok(words.into_iter().map(|word| word.text).collect())
    }

    /// `ids` cut to `max_len` ids as the reference cuts: the first `max_len - 1`, then `</s>`. Shorter ones stay as they are.
    pub fn truncate(&self, ids: &mut Vec<u32>, max_len: usize) {
        if ids.len() > max_len {
            ids.truncate(max_len);
            if let Some(last) = ids.last_mut() {
                *last = self.eos;
            }
        }
    }
}

/// Number of pieces that are not added tokens, such as sentinels.
fn pieces(tokenizer: &Tokenizer) -> usize {
    let added = tokenizer.get_added_tokens_decoder();
    let ids = tokenizer.get_vocab(false).into_values();
    ids.filter(|id| !added.contains_key(id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_that_cannot_write_text_is_refused() {
        let text = std::fs::read_to_string("../fixtures/backbones/t5-nano/tokenizer.json").unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let vocabulary = json["model"]["vocab"].as_array_mut().unwrap();
        let sentinels = vocabulary.split_off(vocabulary.len() - 100);
        vocabulary.truncate(13);
        vocabulary.extend(sentinels);
        for token in json["added_tokens"].as_array_mut().unwrap() {
            let id = token["id"].as_u64().unwrap();
            token["id"] = if id < 32_000 { id } else { id - 32_000 + 13 }.into();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        let error = SentT::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("has only 10 pieces"), "{error}");
    }
}
