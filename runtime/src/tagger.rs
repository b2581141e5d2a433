//! The tagger: sentences in, labelled spans out.

use std::path::Path;

use hyperloader_core::calibration::selection::Threshold;
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::words::Word;

use crate::architecture;
use crate::backend::{Backend, BackendError};
use crate::error::{OpenError, SentenceError, TagError};
use crate::input::Reader;
use crate::model::{Model, Output, Source};
use crate::model_file::ModelFile;
use crate::options::TaggerOptions;
use crate::output::Tagged;
use crate::pool::Pool;
use crate::scores::threshold;
use crate::statistics::Statistics;

/// An exported tagger that is ready to run; threads can share it.
#[derive(Debug)]
pub struct Tagger {
    metadata: TaggerMetadata,
    model: Box<dyn Model>,
    backend: Backend,
    pool: Pool,
    reader: Reader,
    align: Alignment,
    threshold: Option<Threshold>,
}

/// A sentence that can be tagged.
struct Prepared {
    text: String,
    words: Vec<Word>,
    source: Source,
}

impl Tagger {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`OpenError`] if the file is not a tagger, the backend cannot be loaded, or it does not accept the graph.
    pub fn open(path: impl AsRef<Path>, options: &TaggerOptions) -> Result<Self, OpenError> {
        Self::new(ModelFile::open(path)?, options)
    }

    /// A tagger from a file that is open. Its bytes are freed when the backend has its own.
    ///
    /// # Errors
    /// As [`Tagger::open`].
    pub fn new(file: ModelFile, options: &TaggerOptions) -> Result<Self, OpenError> {
        let path = || file.path().to_owned();
        let metadata = file.metadata().clone();
        let model = architecture::of(metadata.kind)
            .model(&metadata)
            .map_err(|source| OpenError::Tokenizer { path: path(), source })?;
        check_tokens(&metadata, model.pad_and_end(), file.path())?;
        let threshold = threshold(&metadata, options, file.path())?;
        let backend = Backend::load(&options.backend)?;
        let workers = (0..options.workers.max(1)).map(|_| model.worker(file.parts(), &backend, options));
        let workers: Result<Vec<_>, _> = workers.collect();
        let workers = workers.map_err(|fault| OpenError::Graph { path: path(), source: fault.into() })?;
        Ok(Self {
            reader: Reader::new(options.input, metadata.words),
            pool: Pool::new(workers, options.batch_size),
            align: options.align,
            threshold,
            metadata,
            model,
            backend,
        })
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> &TaggerMetadata {
        &self.metadata
    }

    /// The loaded runtime.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The score that a sentence must reach to be answered; `None` unless [`TaggerOptions::guarantee`] is set.
    pub fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// The cost of tagging since the tagger was opened.
    pub fn statistics(&self) -> Statistics {
        self.pool.statistics()
    }

    /// The number of sentences that are best tagged together: with fewer, batches have less similar lengths; more only take
    /// memory.
    pub fn window(&self) -> usize {
        self.pool.window()
    }

    /// Tags sentences from an iterator, in windows of [`Tagger::window`] sentences and in bounded memory. The results have
    /// the order of the sentences, one for each.
    ///
    /// [`TagError::Sentence`] concerns one sentence, and the next one follows. After [`TagError::Backend`] the iterator ends.
    pub fn tag_iter<'a, T: AsRef<str>>(
        &'a self,
        texts: impl IntoIterator<Item = T> + 'a,
    ) -> impl Iterator<Item = Result<Tagged, TagError>> + 'a {
        let mut texts = texts.into_iter();
        let mut ready = Vec::new().into_iter();
        let mut failed = false;
        std::iter::from_fn(move || {
            if ready.len() == 0 && !failed {
                let window: Vec<T> = texts.by_ref().take(self.window()).collect();
                match self.tag(&window) {
                    Ok(results) => ready = results.into_iter(),
                    Err(error) => {
                        failed = true;
                        return Some(Err(error.into()));
                    }
                }
            }
            Some(ready.next()?.map_err(TagError::from))
        })
    }

    /// Tags sentences. The results have the order of the sentences, one for each: a sentence that cannot be tagged does not
    /// affect the others.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn tag<T: AsRef<str>>(
        &self,
        texts: &[T],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let prepare = |text: &T| {
            let text = text.as_ref().to_owned();
            let words = self.reader.split(&text);
            self.prepare(text, words)
        };
        self.tag_prepared(texts.iter().map(prepare).collect())
    }

    /// Tags sentences that are given as words, whatever [`TaggerOptions::input`] says. The results are as those of
    /// [`Tagger::tag`].
    ///
    /// # Errors
    /// As [`Tagger::tag`].
    pub fn tag_words<W: AsRef<str>>(
        &self,
        sentences: &[Vec<W>],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        self.tag_prepared(sentences.iter().map(|words| self.prepare_words(words)).collect())
    }

    /// The source ids of a sentence's words, as [`Tagger::tag_words`] makes them.
    ///
    /// # Errors
    /// If the tagger does not take the sentence.
    pub fn source_ids<W: AsRef<str>>(&self, words: &[W]) -> Result<Vec<u32>, SentenceError> {
        self.prepare_words(words).map(|sentence| sentence.source.ids)
    }

    /// The target ids of each source, given as ids: without the start token, with `</s>` if the model wrote it. A token
    /// classifier gives the index of each token's tag.
    ///
    /// # Errors
    /// As [`Tagger::tag`].
    pub fn target_ids(&self, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
        let sources: Vec<Source> = sources.iter().map(|ids| self.model.source_of_ids(ids)).collect();
        let outputs = self.pool.run(&sources.iter().collect::<Vec<_>>())?;
        match outputs.iter().any(|output| output.is_faulty) {
            true => Err(BackendError::NotFinite),
            false => Ok(outputs.into_iter().map(|output| output.ids).collect()),
        }
    }

    fn prepare_words<W: AsRef<str>>(&self, words: &[W]) -> Result<Prepared, SentenceError> {
        let (text, words) = self.reader.join(words)?;
        self.prepare(text, words)
    }

    fn prepare(&self, text: String, words: Vec<Word>) -> Result<Prepared, SentenceError> {
        if words.is_empty() {
            return Err(SentenceError::NoWord);
        }
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let source = self.model.source(&texts)?;
        let (tokens, limit) = (source.ids.len(), self.metadata.max_source_len);
        match tokens > limit {
            true => Err(SentenceError::TooLong { tokens, limit }),
            false => Ok(Prepared { text, words, source }),
        }
    }

    fn tag_prepared(
        &self,
        prepared: Vec<Result<Prepared, SentenceError>>,
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let sources: Vec<&Source> = prepared.iter().flatten().map(|sentence| &sentence.source).collect();
        let mut outputs = self.pool.run(&sources)?.into_iter();
        let finish = |sentence: Result<Prepared, SentenceError>| {
            sentence.and_then(|sentence| self.finish(sentence, &outputs.next().unwrap_or_default()))
        };
        Ok(prepared.into_iter().map(finish).collect())
    }

    fn finish(&self, sentence: Prepared, output: &Output) -> Result<Tagged, SentenceError> {
        let Prepared { text, words, source } = sentence;
        if output.is_faulty {
            return Err(SentenceError::NotFinite);
        }
        let tags = self.model.tags(&source, words.len(), output, self.align)?;
        let tagged = Tagged::new(text, words, tags).marked(&self.metadata.labels);
        Ok(match self.threshold {
            Some(threshold) => tagged.answered_from(threshold.score),
            None => tagged,
        })
    }
}

/// Checks that metadata and tokenizer name the same ids for padding and for the end of a sentence.
fn check_tokens(metadata: &TaggerMetadata, [pad, end]: [u32; 2], path: &Path) -> Result<(), OpenError> {
    let tokens = [("pad_token_id", metadata.pad_token_id, pad), ("eos_token_id", metadata.eos_token_id, end)];
    match tokens.into_iter().find(|(_, metadata, tokenizer)| *metadata != i64::from(*tokenizer)) {
        Some((field, metadata, tokenizer)) => {
            Err(OpenError::Token { path: path.to_owned(), field, metadata, tokenizer })
        }
        None => Ok(()),
    }
}
