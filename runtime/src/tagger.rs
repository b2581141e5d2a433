//! Sentences in, labelled spans out.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::spans::{SpanMode, bio_to_spans};
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::words::{Word, WordRule, WordSplitting, is_whitespace};
use serde::Serialize;

use crate::backend::{Backend, BackendError, BackendOptions};
use crate::classifier::Classifier;
use crate::coding::{Coding, CodingError};
use crate::decode::{Decoder, DecoderError, DraftFrom, Mode, Statistics};
use crate::model_file::{ModelFile, ModelFileError};
use crate::names::names;

/// What a sentence is given as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Input {
    /// Free text, cut into words as the task's corpus cuts them
    #[default]
    Text,
    /// Words with white space between them, as in a corpus
    Words,
}

names!(Input, "form of sentences", Text => "text", Words => "words");

/// Most source tokens of a batch, padding included: what bounds the memory that logits take.
const BATCH_TOKENS: usize = 2048;
/// Batches of each worker that [`Tagger::tag_iter`] looks ahead, so that sentences of like length can share one.
const LOOKAHEAD: usize = 8;

/// How a tagger is run.
#[derive(Debug, Clone)]
pub struct TaggerOptions {
    /// The runtime.
    pub backend: BackendOptions,
    /// Most sentences that are run at once by a worker.
    pub batch_size: usize,
    /// Batches that are run side by side, each with [`BackendOptions::threads`] threads.
    pub workers: usize,
    /// What sentences are given as.
    pub input: Input,
    /// Which word a tag belongs to.
    pub align: Alignment,
    /// How target ids are found.
    pub mode: Mode,
    /// What drafts are made from.
    pub draft_from: DraftFrom,
}

impl Default for TaggerOptions {
    fn default() -> Self {
        Self {
            backend: BackendOptions::default(),
            batch_size: 32,
            workers: 1,
            input: Input::default(),
            align: Alignment::default(),
            mode: Mode::default(),
            draft_from: DraftFrom::default(),
        }
    }
}

/// A tagger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is no tagger.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The backend cannot be had.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The file's tokenizer cannot be used.
    #[error("cannot use the tokenizer of `{path}`")]
    Tokenizer {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        error: CodingError,
    },
    /// The tokenizer and the metadata disagree.
    #[error("`{path}`: metadata `{field}` is {metadata}, the tokenizer has {tokenizer}")]
    Token {
        /// The file.
        path: String,
        /// The field.
        field: &'static str,
        /// The id in the metadata.
        metadata: i64,
        /// The id in the tokenizer.
        tokenizer: u32,
    },
    /// The file's graph cannot be opened.
    #[error("cannot open the graph of `{path}`")]
    Classifier {
        /// The file.
        path: String,
        /// The backend's reason.
        #[source]
        error: BackendError,
    },
    /// The file's graph cannot be run.
    #[error("cannot decode with the graph of `{path}`")]
    Decoder {
        /// The file.
        path: String,
        /// What is wrong.
        #[source]
        error: DecoderError,
    },
}

/// One sentence cannot be tagged; others can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SentenceError {
    /// There is nothing to tag.
    #[error("the sentence has no word")]
    NoWord,
    /// A word of a sentence given as words is none.
    #[error("word {index} is `{word}`, expected text without white space")]
    Word {
        /// The word's index, from 0.
        index: usize,
        /// The word.
        word: String,
    },
    /// The vocabulary has too few sentinels.
    #[error("the sentence has {words} words, the tagger takes at most {limit}\nhint: split the sentence")]
    TooManyWords {
        /// Words of the sentence.
        words: usize,
        /// Most words.
        limit: usize,
    },
    /// The model was not made for so long a source.
    #[error("the sentence takes {tokens} tokens, the tagger takes at most {limit}\nhint: split the sentence")]
    TooLong {
        /// Tokens of the source, sentinels and `</s>` included.
        tokens: usize,
        /// Most tokens.
        limit: usize,
    },
    /// The tokenizer failed.
    #[error("{0}")]
    Tokenizer(String),
}

/// A span of a sentence with its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaggedSpan {
    /// First character (Unicode scalar value) in the sentence's text.
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// The label.
    pub label: String,
    /// The characters between.
    pub text: String,
}

/// A tagged sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The sentence as it was given; words joined by blanks where it was given as words.
    pub text: String,
    /// Its words as the model reads them, with their characters in `text`.
    pub words: Vec<Word>,
    /// A BIO tag for each word.
    pub tags: Vec<String>,
    /// The labelled spans, in order.
    pub spans: Vec<TaggedSpan>,
    /// Whether the model ended the target by itself; where not, words at the end may lack their tags.
    pub complete: bool,
}

/// A sentence that can be tagged.
struct Prepared {
    text: String,
    words: Vec<Word>,
    source: Vec<u32>,
}

/// Runs batches of sources.
#[derive(Debug)]
enum Worker {
    Decoder(Box<Decoder>),
    Classifier(Classifier),
}

impl Worker {
    fn new(
        file: &ModelFile,
        backend: &Backend,
        coding: &Coding,
        options: &TaggerOptions,
    ) -> Result<Self, OpenError> {
        let path = || file.path().display().to_string();
        match coding {
            Coding::SentT { codec, .. } => Decoder::new(backend, file, codec, options)
                .map(|decoder| Self::Decoder(Box::new(decoder)))
                .map_err(|error| OpenError::Decoder { path: path(), error }),
            Coding::WordPiece { .. } => Classifier::new(backend, file)
                .map(Self::Classifier)
                .map_err(|error| OpenError::Classifier { path: path(), error }),
        }
    }

    /// What [`Coding::tags`] takes, for each of `sources`.
    fn run(&mut self, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
        match self {
            Self::Decoder(decoder) => decoder.target_ids(sources),
            Self::Classifier(classifier) => classifier.tag_ids(sources),
        }
    }

    fn statistics(&self) -> Statistics {
        match self {
            Self::Decoder(decoder) => decoder.statistics(),
            Self::Classifier(classifier) => classifier.statistics(),
        }
    }
}

/// An exported tagger, ready to run; threads can share it.
#[derive(Debug)]
pub struct Tagger {
    metadata: TaggerMetadata,
    coding: Coding,
    backend: Backend,
    workers: Vec<Mutex<Worker>>,
    batch_size: usize,
    splitting: WordSplitting,
    align: Alignment,
}

impl Tagger {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`OpenError`] if the file is no tagger, or the backend cannot be had or does not take it.
    pub fn open(path: impl AsRef<Path>, options: &TaggerOptions) -> Result<Self, OpenError> {
        Self::new(ModelFile::open(path)?, options)
    }

    /// A tagger from a file that is open. The file's bytes are freed once the backend has its own.
    ///
    /// # Errors
    /// As [`Tagger::open`].
    pub fn new(file: ModelFile, options: &TaggerOptions) -> Result<Self, OpenError> {
        let path = file.path().display().to_string();
        let metadata = file.metadata().clone();
        let coding =
            Coding::new(&metadata).map_err(|error| OpenError::Tokenizer { path: path.clone(), error })?;
        check_tokens(&metadata, &coding, &path)?;
        let backend = Backend::load(&options.backend)?;
        let worker = |_| Worker::new(&file, &backend, &coding, options).map(Mutex::new);
        let workers = (0..options.workers.max(1)).map(worker).collect::<Result<Vec<_>, _>>()?;
        let rule = match options.input {
            Input::Text => metadata.words.rule,
            Input::Words => WordRule::Whitespace,
        };
        Ok(Self {
            splitting: WordSplitting { rule, ..metadata.words },
            metadata,
            coding,
            backend,
            workers,
            batch_size: options.batch_size.max(1),
            align: options.align,
        })
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &TaggerMetadata {
        &self.metadata
    }

    /// The runtime.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// What decoding has cost since the tagger was opened.
    pub fn statistics(&self) -> Statistics {
        let of = |worker: &Mutex<Worker>| worker.lock().unwrap_or_else(PoisonError::into_inner).statistics();
        self.workers.iter().map(of).fold(Statistics::default(), Statistics::plus)
    }

    /// Sentences that are worth tagging together: more only take memory, fewer make worse batches.
    pub fn window(&self) -> usize {
        LOOKAHEAD.saturating_mul(self.batch_size).saturating_mul(self.workers.len())
    }

    /// Tags sentences as they come, [`Tagger::window`] at a time and in bounded memory; one result each, in order. Ends
    /// after the first error of the backend.
    pub fn tag_iter<'a, T: AsRef<str>>(
        &'a self,
        texts: impl IntoIterator<Item = T> + 'a,
    ) -> impl Iterator<Item = Result<Result<Tagged, SentenceError>, BackendError>> + 'a {
        let mut texts = texts.into_iter();
        let mut ready = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if let Some(result) = ready.next() {
                return Some(Ok(result));
            }
            let window: Vec<T> = texts.by_ref().take(self.window()).collect();
            match self.tag(&window) {
                Ok(results) => {
                    ready = results.into_iter();
                    ready.next().map(Ok)
                }
                Err(error) => Some(Err(error)),
            }
        })
        .fuse()
    }

    /// Tags sentences; one result each, in order.
    ///
    /// # Errors
    /// If the backend fails, which concerns all sentences. What is wrong with one sentence is in its own result.
    pub fn tag<T: AsRef<str>>(
        &self,
        texts: &[T],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let prepare = |text: &T| {
            let text = text.as_ref().to_owned();
            let words = self.splitting.split(&text);
            self.prepare(text, words)
        };
        let prepared = texts.iter().map(prepare).collect();
        self.tag_prepared(prepared)
    }

    /// Tags sentences given as words, whatever [`TaggerOptions::input`] says; one result each, in order.
    ///
    /// # Errors
    /// As [`Tagger::tag`].
    pub fn tag_words<W: AsRef<str>>(
        &self,
        sentences: &[Vec<W>],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        self.tag_prepared(sentences.iter().map(|words| self.prepare_words(words)).collect())
    }

    /// The source ids of a sentence's `words`, as [`Tagger::tag_words`] makes them.
    ///
    /// # Errors
    /// If the tagger does not take the sentence.
    pub fn source_ids<W: AsRef<str>>(&self, words: &[W]) -> Result<Vec<u32>, SentenceError> {
        self.prepare_words(words).map(|sentence| sentence.source)
    }

    /// The target of each source, ids in and ids out, in batches as [`Tagger::tag`]: without the start token, with
    /// `</s>` where the model wrote it; of a token classifier the number of each token's tag.
    ///
    /// # Errors
    /// As [`Tagger::tag`].
    pub fn target_ids(&self, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
        let batches = batches(sources, self.batch_size);
        let next = AtomicUsize::new(0);
        let work = |worker: &Mutex<Worker>| {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            let mut done = Vec::new();
            while let Some(rows) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let batch: Vec<Vec<u32>> = rows.iter().map(|&row| sources[row].clone()).collect();
                done.extend(rows.iter().copied().zip(worker.run(&batch)?));
            }
            Ok(done)
        };
        let done: Vec<Result<Vec<_>, BackendError>> = match &self.workers[..] {
            [worker] => vec![work(worker)],
            workers => std::thread::scope(|scope| {
                let threads: Vec<_> = workers.iter().map(|worker| scope.spawn(|| work(worker))).collect();
                let died = |_| Err(BackendError::WorkerDied);
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
            }),
        };
        let mut targets = vec![vec![]; sources.len()];
        for worker in done {
            for (row, target) in worker? {
                targets[row] = target;
            }
        }
        Ok(targets)
    }

    fn prepare_words<W: AsRef<str>>(&self, words: &[W]) -> Result<Prepared, SentenceError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        check_words(&words)?;
        let text = words.join(" ");
        let words = WordSplitting { rule: WordRule::Whitespace, ..self.splitting }.split(&text);
        self.prepare(text, words)
    }

    fn prepare(&self, text: String, words: Vec<Word>) -> Result<Prepared, SentenceError> {
        if words.is_empty() {
            return Err(SentenceError::NoWord);
        }
        let source = self.coding.source(&texts(&words))?;
        let limit = self.metadata.max_source_len;
        if source.len() > limit {
            return Err(SentenceError::TooLong { tokens: source.len(), limit });
        }
        Ok(Prepared { text, words, source })
    }

    fn tag_prepared(
        &self,
        prepared: Vec<Result<Prepared, SentenceError>>,
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let sources: Vec<Vec<u32>> =
            prepared.iter().flatten().map(|sentence| sentence.source.clone()).collect();
        let mut targets = self.target_ids(&sources)?.into_iter();
        let finish = |sentence: Result<Prepared, SentenceError>| {
            sentence.and_then(|sentence| self.finish(sentence, &targets.next().unwrap_or_default()))
        };
        Ok(prepared.into_iter().map(finish).collect())
    }

    fn finish(&self, sentence: Prepared, target: &[u32]) -> Result<Tagged, SentenceError> {
        let Prepared { text, words, .. } = sentence;
        let (tags, complete) = self.coding.tags(&texts(&words), target, self.align)?;
        let spans = spans(&text, &words, &tags);
        Ok(Tagged { text, words, tags, spans, complete })
    }
}

/// Indices of `sources` in batches of at most `size` and of sources of like length, longest first.
fn batches(sources: &[Vec<u32>], size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sources[index].len()));
    let mut batches = Vec::new();
    let mut rest = &order[..];
    while let Some(&first) = rest.first() {
        let rows = (BATCH_TOKENS / sources[first].len().max(1)).clamp(1, size);
        let (batch, others) = rest.split_at(rows.min(rest.len()));
        batches.push(batch.to_vec());
        rest = others;
    }
    batches
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

fn check_tokens(metadata: &TaggerMetadata, coding: &Coding, path: &str) -> Result<(), OpenError> {
    let [pad, end] = coding.pad_and_end();
    let tokens = [("pad_token_id", metadata.pad_token_id, pad), ("eos_token_id", metadata.eos_token_id, end)];
    match tokens.into_iter().find(|(_, metadata, tokenizer)| *metadata != i64::from(*tokenizer)) {
        Some((field, metadata, tokenizer)) => {
            Err(OpenError::Token { path: path.to_owned(), field, metadata, tokenizer })
        }
        None => Ok(()),
    }
}

fn check_words(words: &[&str]) -> Result<(), SentenceError> {
    let unfit = |word: &&str| word.is_empty() || word.chars().any(is_whitespace);
    match words.iter().position(unfit) {
        Some(index) => Err(SentenceError::Word { index, word: words[index].to_owned() }),
        None => Ok(()),
    }
}

/// The spans of `tags` as characters of `text`.
fn spans(text: &str, words: &[Word], tags: &[String]) -> Vec<TaggedSpan> {
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    bio_to_spans(tags, SpanMode::Default)
        .into_iter()
        .map(|span| {
            let (start, end) = (words[span.start].start, words[span.end - 1].end);
            TaggedSpan { start, end, label: span.label, text: text[bytes[start]..bytes[end]].to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_characters_and_hold_the_raw_text() {
        let text = "caf\u{e9} in  \u{1F600}Z\u{fc}rich now";
        let words = WordSplitting { rule: WordRule::Whitespace, lowercase: true }.split(text);
        let tags = ["B-what", "O", "B-where", "I-where"].map(str::to_owned);
        let spans = spans(text, &words, &tags);
        let chars: Vec<char> = text.chars().collect();
        for span in &spans {
            assert_eq!(span.text, chars[span.start..span.end].iter().collect::<String>());
        }
        let found: Vec<_> = spans.iter().map(|span| (span.start, span.end, span.label.as_str())).collect();
        assert_eq!(found, [(0, 4, "what"), (9, 20, "where")]);
        assert_eq!(spans[1].text, "\u{1F600}Z\u{fc}rich now");
    }

    #[test]
    fn batches_hold_sources_of_like_length_and_no_more_tokens_than_allowed() {
        let lengths = [3, 900, 5, 4, 1000, 5000, 3];
        let sources: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![0; length]).collect();
        assert_eq!(batches(&sources, 3), [vec![5], vec![4, 1], vec![2, 3, 0], vec![6]]);
        assert!(batches(&[], 3).is_empty());
    }

    #[test]
    fn a_word_is_text_without_white_space() {
        assert_eq!(check_words(&["a", "b\u{200b}"]), Ok(()));
        for bad in ["", " ", "a b", "a\u{a0}"] {
            assert_eq!(check_words(&["a", bad]), Err(SentenceError::Word { index: 1, word: bad.to_owned() }));
        }
    }
}
