//! The tagger: sentences in, labeled spans out.

use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};

use hyperloader_core::calibration::map::ScoreMaps;
use hyperloader_core::calibration::selection::Threshold;
use hyperloader_core::corpus::Sentence;
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::target::Alignment;
use hyperloader_core::text::words::{Word, WordSplitting};

use crate::architecture;
use crate::backend::{Backend, BackendError};
use crate::document::{Document, TextTags};
use crate::error::{OpenError, SentenceError, TagError};
use crate::input::Reader;
use crate::model::{Model, Output, Scores, Source};
use crate::model_file::ModelFile;
use crate::options::{Split, TaggerOptions};
use crate::output::Tagged;
use crate::parts::{BatchOutput, PartOutput, PreparedText, TextPart};
use crate::pool::Pool;
use crate::statistics::Statistics;
use crate::withholding::{Withholding, withholding};

/// An exported tagger that is ready to run; threads can share it.
#[derive(Debug)]
pub struct Tagger {
    metadata: TaggerMetadata,
    model: Box<dyn Model>,
    backend: Backend,
    pool: Pool,
    reader: Reader,
    align: Alignment,
    maps: ScoreMaps,
    withholding: Option<Withholding>,
    split: Split,
    /// Parts that were run beyond one for each sentence. Negative if sentences had no part.
    further_parts: AtomicIsize,
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
        let withholding = withholding(&metadata, options, file.path())?;
        let backend = Backend::load(&options.backend)?;
        let workers = (0..options.workers.max(1)).map(|_| model.worker(file.parts(), &backend, options));
        let workers: Result<Vec<_>, _> = workers.collect();
        let workers = workers.map_err(|fault| OpenError::Graph { path: path(), source: fault.into() })?;
        Ok(Self {
            reader: Reader::new(options.words, metadata.words),
            pool: Pool::new(workers, options.batch_size),
            align: options.align,
            maps: metadata
                .calibration
                .as_ref()
                .map_or_else(ScoreMaps::default, |calibration| calibration.maps),
            withholding,
            split: options.split,
            further_parts: AtomicIsize::new(0),
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

    /// The score that a sentence must reach to be answered, or a span to be given out; `None` unless
    /// [`TaggerOptions::guarantee`] is set.
    pub fn threshold(&self) -> Option<Threshold> {
        self.withholding.map(Withholding::threshold)
    }

    /// The cost of tagging since the tagger was opened.
    pub fn statistics(&self) -> Statistics {
        let statistics = self.pool.statistics();
        let sentences = statistics.parts.saturating_add_signed(-self.further_parts.load(Ordering::Relaxed));
        Statistics { sentences, ..statistics }
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
    /// A text over the tagger's limits (words, source tokens) is tagged in parts, its sentences or windows of them, unless
    /// [`TaggerOptions::split`] says otherwise. The parts of all texts share batches.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn tag<T: AsRef<str>>(
        &self,
        texts: &[T],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        self.tag_prepared(texts.iter().map(|text| self.prepare(text.as_ref())).collect())
    }

    /// Tags sentences that are given as words, whatever [`TaggerOptions::words`] says. The results are as those of
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

    /// A text for a caller that makes its own batches: [`Tagger::run`] runs its parts, [`Tagger::finish`] makes the result.
    ///
    /// # Errors
    /// If the text cannot be tagged.
    pub fn prepare(&self, text: impl Into<String>) -> Result<PreparedText, SentenceError> {
        let text = text.into();
        let words = self.reader.split(&text);
        self.prepare_split(text, words)
    }

    /// Runs parts of prepared texts as one batch, on a worker that is free. Parts of one batch should have similar lengths: the
    /// model reads all as if they had the length of the longest.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn run(&self, parts: &[TextPart]) -> Result<BatchOutput, BackendError> {
        let sources: Vec<&Source> = parts.iter().map(|part| &*part.0).collect();
        let (outputs, statistics) = self.pool.run_batch(&sources)?;
        Ok(BatchOutput { outputs: outputs.into_iter().map(PartOutput).collect(), statistics })
    }

    /// The tagged text from the output of each of its parts, in their order. The result is that of [`Tagger::tag`].
    ///
    /// # Errors
    /// If the text cannot be tagged.
    ///
    /// # Panics
    /// If `outputs` has not one output for each part.
    pub fn finish(&self, text: PreparedText, outputs: Vec<PartOutput>) -> Result<Tagged, SentenceError> {
        let outputs: Vec<Output> = outputs.into_iter().map(|output| output.0).collect();
        let parts = text.document.sources().len();
        assert_eq!(outputs.len(), parts, "outputs for another number of parts");
        self.further_parts.fetch_add(parts as isize - 1, Ordering::Relaxed);
        self.finished(text, &outputs)
    }

    /// Tags sentences of a corpus: those with spans as text, if it is split into the corpus' words, others as words. The results are
    /// as those of [`Tagger::tag`].
    ///
    /// # Errors
    /// As [`Tagger::tag`].
    pub(crate) fn tag_corpus(
        &self,
        sentences: &[Sentence],
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let prepare = |sentence: &Sentence| {
            let text = sentence.text.as_deref().filter(|_| sentence.spans.is_some());
            let same =
                |text: &&str| self.reader.split(text).iter().map(|word| &word.text).eq(&sentence.words);
            match text.filter(same) {
                Some(text) => self.prepare(text),
                None => self.prepare_words(&sentence.words),
            }
        };
        self.tag_prepared(sentences.iter().map(prepare).collect())
    }

    /// How texts are split into words.
    pub fn splitting(&self) -> WordSplitting {
        self.reader.splitting()
    }

    /// The source ids of a sentence's words, as [`Tagger::tag_words`] makes them of a sentence that is not split.
    ///
    /// # Errors
    /// If the tagger does not take the sentence as one.
    pub fn source_ids<W: AsRef<str>>(&self, words: &[W]) -> Result<Vec<u32>, SentenceError> {
        let (text, words) = self.reader.join(words)?;
        let document = Document::new(&*self.model, &self.metadata, &text, &words, Split::Never)?;
        Ok(document.sources().iter().flat_map(|source| source.ids.clone()).collect())
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

    fn prepare_words<W: AsRef<str>>(&self, words: &[W]) -> Result<PreparedText, SentenceError> {
        let (text, words) = self.reader.join(words)?;
        self.prepare_split(text, words)
    }

    fn prepare_split(&self, text: String, words: Vec<Word>) -> Result<PreparedText, SentenceError> {
        let document = Document::new(&*self.model, &self.metadata, &text, &words, self.split)?;
        Ok(PreparedText { text, words, document })
    }

    fn tag_prepared(
        &self,
        prepared: Vec<Result<PreparedText, SentenceError>>,
    ) -> Result<Vec<Result<Tagged, SentenceError>>, BackendError> {
        let sentences = prepared.iter().flatten();
        let sources: Vec<&Source> =
            sentences.flat_map(|sentence| sentence.document.sources()).map(|source| &**source).collect();
        let further = sources.len() as isize - prepared.iter().flatten().count() as isize;
        self.further_parts.fetch_add(further, Ordering::Relaxed);
        let mut outputs = self.pool.run(&sources)?.into_iter();
        let finish = |sentence: Result<PreparedText, SentenceError>| {
            let sentence = sentence?;
            let parts = sentence.document.sources().len();
            self.finished(sentence, &outputs.by_ref().take(parts).collect::<Vec<_>>())
        };
        Ok(prepared.into_iter().map(finish).collect())
    }

    /// The tagged sentence from the output of each of its parts.
    fn finished(&self, sentence: PreparedText, outputs: &[Output]) -> Result<Tagged, SentenceError> {
        let PreparedText { text, words, document } = sentence;
        if outputs.iter().any(|output| output.is_faulty) {
            return Err(SentenceError::NotFinite);
        }
        let TextTags { bio, complete, scores } = document.tags(&*self.model, outputs, self.align)?;
        let mut tagged = Tagged::new(text, words, bio, complete);
        if let Some(Scores { sentence, words }) = scores {
            let tags = self.model.tag_scores(&tagged.tags, &words);
            tagged = tagged.scored(sentence, &tags, &words, &self.maps);
        }
        let is_whole = document.is_whole();
        let tagged = Tagged { unread: document.into_unread(), ..tagged }.marked(&self.metadata.labels);
        Ok(match self.withholding {
            Some(withholding) => withholding.apply(tagged, is_whole),
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
