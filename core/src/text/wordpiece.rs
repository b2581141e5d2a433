//! A sentence's words as a BERT reads them: `[CLS]`, the sub-words of each word, `[SEP]`.
//!
//! A word is tagged at its first sub-word. Each word is encoded on its own: BERT's tokenizer cuts at white space first, so
//! ids never depend on neighbours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece as WordPieceModel;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Model, Tokenizer};

use crate::files::{FileError, read_text};
use crate::text::tokenizer;

/// BERT's vocabulary, one token a line: the format before `tokenizer.json`.
pub const VOCABULARY: &str = "vocab.txt";
/// The file beside [`VOCABULARY`] that says how words are normalized.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const PAD: &str = "[PAD]";
const UNK: &str = "[UNK]";
const CLS: &str = "[CLS]";
const SEP: &str = "[SEP]";
/// Tokens that no text is encoded as.
const SPECIAL: [&str; 5] = [PAD, UNK, CLS, SEP, "[MASK]"];
/// Most words whose ids are cached.
const CACHED_WORDS: usize = 1 << 17;

/// A tokenizer that cannot be used, or a word that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum WordPieceError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no tokenizer.
    #[error(
        "`{}` is missing, and there is no `{VOCABULARY}` beside it\nhint: a BERT has one of the two; copy it from where the weights are from",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file is not a tokenizer.
    #[error("cannot read tokenizer `{}`", path.display())]
    Read {
        /// The file; `<text>` if it was given in memory.
        path: PathBuf,
        /// The underlying error.
        source: tokenizers::Error,
    },
    /// A token occurs twice in a vocabulary.
    #[error("`{}`: token `{token}` is on line {first} and on line {second}", path.display())]
    Twice {
        /// Path of the file.
        path: PathBuf,
        token: String,
        /// A line, from 1.
        first: usize,
        /// A later one.
        second: usize,
    },
    /// The vocabulary lacks a token that every BERT has.
    #[error(
        "the tokenizer has no token `{0}`\nhint: a BERT or MiniLM has one; is this the tokenizer of another model?"
    )]
    MissingToken(&'static str),
    /// The tokenizer failed.
    #[error("cannot encode `{text}`")]
    Encode {
        text: String,
        /// The tokenizer's reason.
        source: tokenizers::Error,
    },
}

/// The ids of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// `[CLS]`, sub-words, `[SEP]`.
    pub ids: Vec<u32>,
    /// The position in `ids` of each word's first sub-word.
    pub first: Vec<usize>,
}

/// A BERT's tokenizer.
#[derive(Debug)]
pub struct WordPiece {
    tokenizer: Tokenizer,
    text: String,
    cls: u32,
    sep: u32,
    pad: u32,
    unk: u32,
    cache: RwLock<HashMap<String, Arc<[u32]>>>,
}

/// How words are normalized: the fields of [`TOKENIZER_CONFIG`] that BERT's tokenizer reads.
#[derive(Deserialize)]
#[serde(default)]
struct Normalization {
    do_lower_case: bool,
    /// As `do_lower_case` if absent.
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
}

impl Default for Normalization {
    fn default() -> Self {
        Self { do_lower_case: true, strip_accents: None, tokenize_chinese_chars: true }
    }
}

impl WordPiece {
    /// Reads a `tokenizer.json`, or a `vocab.txt`, beside which `tokenizer_config.json` may set
    /// `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a tokenizer, or lacks `[CLS]`, `[SEP]`, `[PAD]` or `[UNK]`.
    pub fn from_file(path: &Path) -> Result<Self, WordPieceError> {
        if !path.exists() {
            return Err(WordPieceError::Missing(path.to_owned()));
        }
        let text = read_text(path)?;
        if path.file_name().is_none_or(|name| name != VOCABULARY) {
            return Self::of_json(text, path);
        }
        let read = |source| WordPieceError::Read { path: path.to_owned(), source };
        let tokenizer = of_vocabulary(&text, path)?;
        let json = tokenizer.to_string(false).map_err(read)?;
        Self::new(tokenizer, json)
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`WordPiece::from_file`].
    pub fn from_text(text: &str) -> Result<Self, WordPieceError> {
        Self::of_json(text.to_owned(), Path::new("<text>"))
    }

    fn of_json(text: String, path: &Path) -> Result<Self, WordPieceError> {
        let read = |source| WordPieceError::Read { path: path.to_owned(), source };
        Self::new(tokenizer::read(text.as_bytes()).map_err(read)?, text)
    }

    fn new(mut tokenizer: Tokenizer, text: String) -> Result<Self, WordPieceError> {
        tokenizer.with_padding(None);
        // Removing a truncation cannot fail; the result is only a reference for chaining.
        let _ = tokenizer.with_truncation(None);
        // A word that looks like `[SEP]` is a word.
        tokenizer.set_encode_special_tokens(true);
        let id = |token| tokenizer.token_to_id(token).ok_or(WordPieceError::MissingToken(token));
        let (cls, sep, pad, unk) = (id(CLS)?, id(SEP)?, id(PAD)?, id(UNK)?);
        Ok(Self { tokenizer, text, cls, sep, pad, unk, cache: RwLock::default() })
    }

    /// The tokenizer as the text of its `tokenizer.json`, which is made from `vocab.txt` if that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// One past the largest id, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The id of `[PAD]`.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The id of `[SEP]`, which ends a sentence.
    pub fn sep(&self) -> u32 {
        self.sep
    }

    /// `[CLS] w0 w0' w1 ... [SEP]` for the words of a sentence.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode<W: AsRef<str>>(&self, words: &[W]) -> Result<Coded, WordPieceError> {
        let mut ids = vec![self.cls];
        let mut first = Vec::with_capacity(words.len());
        for word in words {
            first.push(ids.len());
            ids.extend_from_slice(&self.word(word.as_ref())?);
        }
        ids.push(self.sep);
        Ok(Coded { ids, first })
    }

    /// Cuts `ids` to `limit` ids of which the last is `[SEP]`. Shorter ones stay as they are.
    pub fn truncate(&self, ids: &mut Vec<u32>, limit: usize) {
        if ids.len() > limit {
            ids.truncate(limit.saturating_sub(1));
            ids.push(self.sep);
        }
    }

    /// Ids of one word: at least one, `[UNK]` if the tokenizer finds nothing in it (U+200B).
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn word(&self, word: &str) -> Result<Arc<[u32]>, WordPieceError> {
        if let Some(ids) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            return Ok(Arc::clone(ids));
        }
        let failed = |source| WordPieceError::Encode { text: word.to_owned(), source };
        let encoding = tokenizer::guarded(|| self.tokenizer.encode_fast(word, false)).map_err(failed)?;
        let ids: Arc<[u32]> = match encoding.get_ids() {
            [] => Arc::new([self.unk]),
            ids => ids.into(),
        };
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() < CACHED_WORDS {
            cache.insert(word.to_owned(), Arc::clone(&ids));
        }
        Ok(ids)
    }
}

/// The tokenizer that transformers' `BertTokenizerFast` makes of a vocabulary.
fn of_vocabulary(text: &str, path: &Path) -> Result<Tokenizer, WordPieceError> {
    check_unique(text, path)?;
    let read = |source| WordPieceError::Read { path: path.to_owned(), source };
    let Normalization { do_lower_case, strip_accents, tokenize_chinese_chars } = normalization(path)?;
    let vocabulary = WordPieceModel::read_bytes(text.as_bytes()).map_err(read)?;
    let model =
        WordPieceModel::builder().vocab(vocabulary).unk_token(UNK.to_owned()).build().map_err(read)?;
    let special: Vec<AddedToken> = SPECIAL
        .into_iter()
        .filter(|token| model.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect();
    let mut tokenizer = Tokenizer::new(model);
    let normalizer = BertNormalizer::new(true, tokenize_chinese_chars, strip_accents, do_lower_case);
    tokenizer.with_normalizer(Some(normalizer)).map_err(read)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(WordPieceDecoder::default()));
    tokenizer.add_special_tokens(special).map_err(read)?;
    Ok(tokenizer)
}

/// Reads [`TOKENIZER_CONFIG`] beside a vocabulary, if it exists.
fn normalization(vocabulary: &Path) -> Result<Normalization, WordPieceError> {
    let path = vocabulary.with_file_name(TOKENIZER_CONFIG);
    if !path.is_file() {
        return Ok(Normalization::default());
    }
    let read = |source: serde_json::Error| WordPieceError::Read { path: path.clone(), source: source.into() };
    serde_json::from_str(&read_text(&path)?).map_err(read)
}

/// Checks that no token is on two lines: the ids of a vocabulary are its line numbers.
fn check_unique(text: &str, path: &Path) -> Result<(), WordPieceError> {
    let mut lines = HashMap::new();
    for (line, token) in (1..).zip(text.lines()) {
        if let Some(first) = lines.insert(token, line) {
            let (path, token) = (path.to_owned(), token.to_owned());
            return Err(WordPieceError::Twice { path, token, first, second: line });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENS: [&str; 14] = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "set", "an", "alarm", "##s", "za", "##g", "##re",
        "##b", "[",
    ];

    fn folder(casing: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(VOCABULARY), TOKENS.join("\n")).unwrap();
        if let Some(casing) = casing {
            std::fs::write(folder.path().join(TOKENIZER_CONFIG), casing).unwrap();
        }
        folder
    }

    fn codec(casing: Option<&str>) -> WordPiece {
        WordPiece::from_file(&folder(casing).path().join(VOCABULARY)).unwrap()
    }

    #[test]
    fn a_word_stands_where_its_first_sub_word_does() {
        let codec = codec(None);
        let coded = codec.encode(&["Set", "alarms", "Z\u{e1}greb", "\u{200b}", "[SEP]", "an"]).unwrap();
        // `[SEP]` in a text is a bracket and an unknown word and a bracket that the vocabulary lacks.
        assert_eq!(coded.ids, [2, 5, 7, 8, 9, 10, 11, 12, 1, 13, 1, 1, 6, 3]);
        assert_eq!(coded.first, [1, 2, 4, 8, 9, 12]);
        assert_eq!((codec.pad(), codec.sep(), codec.vocabulary_size()), (0, 3, TOKENS.len()));
    }

    #[test]
    fn a_vocabulary_is_lower_cased_unless_the_file_beside_it_says_otherwise() {
        assert_eq!(*codec(Some("{\"do_lower_case\": false}")).word("Set").unwrap(), [1]);
        assert_eq!(*codec(Some("{}")).word("Set").unwrap(), [5]);
        let accents = r#"{"do_lower_case": true, "strip_accents": false}"#;
        assert_eq!(*codec(Some(accents)).word("Z\u{e1}greb").unwrap(), [1]);
        let broken = folder(Some("{"));
        let message = WordPiece::from_file(&broken.path().join(VOCABULARY)).unwrap_err().to_string();
        assert!(message.contains("tokenizer_config.json"), "{message}");
    }

    #[test]
    fn the_text_that_is_made_of_a_vocabulary_is_the_same_tokenizer() {
        let made = codec(None);
        let read = WordPiece::from_text(made.text()).unwrap();
        let words = ["set", "zagreb", "alarm"];
        assert_eq!(read.encode(&words).unwrap(), made.encode(&words).unwrap());
    }

    #[test]
    fn vocabularies_that_are_none_are_refused_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(VOCABULARY);
        let fails = |text: &str| {
            std::fs::write(&path, text).unwrap();
            WordPiece::from_file(&path).unwrap_err().to_string()
        };
        assert!(fails("[PAD]\n[UNK]\n[CLS]").contains("no token `[SEP]`"));
        assert!(fails("[PAD]\na\na").contains("`a` is on line 2 and on line 3"));
        assert!(WordPiece::from_text("{}").unwrap_err().to_string().contains("`<text>`"));
    }

    #[test]
    fn what_is_too_long_ends_in_the_separator() {
        let codec = codec(None);
        let mut ids = vec![2, 5, 6, 7, 3];
        codec.truncate(&mut ids, 5);
        assert_eq!(ids.len(), 5);
        codec.truncate(&mut ids, 3);
        assert_eq!(ids, [2, 5, 3]);
    }

    proptest! {
        #[test]
        fn every_word_has_a_place_of_its_own(words in prop::collection::vec("\\PC{1,6}", 0..8)) {
            let codec = codec(None);
            let Coded { ids, first } = codec.encode(&words).unwrap();
            prop_assert_eq!(first.len(), words.len());
            prop_assert!(first.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(first.iter().all(|at| (1..ids.len() - 1).contains(at)));
            prop_assert!(ids.iter().all(|id| (*id as usize) < TOKENS.len()));
        }
    }
}
