//! Target ids from source ids.
//!
//! All ways run the same loop: a pass of the decoder decides some positions of each target, and a row that has ended
//! leaves the batch. What is certain is not run again, for the self-attention's keys and values of it are kept. The ways
//! differ in how many positions a pass decides. Step by step (`greedy`) it is one. With a draft of the whole target
//! (`verified`) it is all of them: drafted ids are kept as far as the decoder would have chosen them itself, so what
//! comes out is what `greedy` gives (cf. Ge et al. 2022, arXiv 2205.10350).

mod draft;
mod legal;
mod past;
mod plan;
mod rows;
mod target;

use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, KEY_POSITIONS, QUERY_POSITIONS, TaggerMetadata,
};
use hyperloader_core::text::drafter::{ROLES, Transitions, read_from};
use hyperloader_core::text::sentt::{SentT, SentTError};
use hyperloader_core::text::target::{TargetError, TargetGrammar};
use hyperloader_onnx::proto::ModelProto;
use serde::Serialize;

use self::draft::{Drafter, Hints, Sentence};
use self::legal::LegalIds;
use self::past::{Cache, Past};
use self::plan::{horizon, parts_of_like_length};
use self::rows::Row;
use crate::backend::{Backend, BackendError, Graph, Value};
use crate::model_file::ModelFile;
use crate::names::names;
use crate::split::{self, Chosen, SplitError, WANTED, cache_names, memory_names};
use crate::tagger::TaggerOptions;

/// What a pass of the decoder costs beside its tokens, in tokens: on a CPU the weights' way from memory (T5-base's work in
/// `bench/decode`: 20 ms, and 1.4 ms a token).
const CPU_PASS_COST: f64 = 20.0;
/// On a GPU it is the start of the kernels, and tokens cost next to nothing: a guess.
const GPU_PASS_COST: f64 = 500.0;

/// How target ids are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The ids of `greedy`, several in one pass: a draft of the whole target is verified, and redrafted from its first
    /// mistake on
    #[default]
    Verified,
    /// One token a step, each the most likely of the whole vocabulary: as in the paper (section 3.6) and the reference
    /// implementation, whose output all other modes are measured by
    Greedy,
    /// The most likely of the tokens that a well-formed target allows: always one known tag a word
    Constrained,
    /// What the tagger's drafter says, never verified: one pass of the encoder, and other tags than `greedy`
    Draft,
}

names!(Mode, "decoding mode", Verified => "verified", Greedy => "greedy", Constrained => "constrained", Draft => "draft");

/// What drafts are made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DraftFrom {
    /// The file's tag classifier, if it has one, and what the decoder said behind a wrong draft
    #[default]
    Classifier,
    /// `O` everywhere, then what the decoder said behind a wrong draft (Jacobi decoding, Santilli et al. 2023)
    Jacobi,
    /// `O` everywhere, after a mistake too
    Outside,
}

names!(DraftFrom, "source of drafts", Classifier => "classifier", Jacobi => "jacobi", Outside => "outside");

/// A tagger's graph cannot be decoded with.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// It cannot be cut in two.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The backend does not take a part.
    #[error("cannot open the {part}")]
    Backend {
        /// `encoder` or `decoder`.
        part: &'static str,
        /// The backend's reason.
        #[source]
        error: BackendError,
    },
    /// The tokenizer cannot write the tags.
    #[error(transparent)]
    Tokenizer(#[from] SentTError),
    /// The labels cannot be told apart by their ids.
    #[error(transparent)]
    Labels(#[from] TargetError),
    /// The graph cannot write what a well-formed target needs.
    #[error("a well-formed target needs id {id}, the graph's vocabulary has {vocab_size}")]
    Vocabulary {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// Tags are to be drafted by a classifier that the file lacks.
    #[error(
        "the tagger has no drafter\nhint: `hl-train drafter` fits one, `hl-export` then adds it; or decode in another mode"
    )]
    NoDrafter,
}

/// What the loop needs to know of a model, and how far a pass looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Padding of sources, and of targets that are shorter than others.
    pad: i64,
    /// Ends a target.
    eos: u32,
    /// First input of the decoder.
    start: i64,
    /// Most ids of a target, `</s>` included.
    max_target_len: usize,
    /// Ids are below.
    vocab_size: usize,
    /// Most ids of a target that one pass decides.
    horizon: usize,
}

/// What decoding has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Sentences decoded.
    pub sentences: usize,
    /// Decoder passes, counted once for each sentence that took part.
    pub passes: usize,
    /// Ids written.
    pub ids: usize,
    /// Drafted ids that the decoder would not have chosen, as far as it looked.
    pub mistakes: usize,
    /// Sentences whose drafts failed so often that they were given up.
    pub fallbacks: usize,
}

impl Statistics {
    fn add(&mut self, row: &Row) {
        self.sentences += 1;
        self.passes += row.passes;
        self.ids += row.target().len();
        self.mistakes += row.mistakes;
        self.fallbacks += usize::from(row.fell_back());
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            sentences: self.sentences + other.sentences,
            passes: self.passes + other.passes,
            ids: self.ids + other.ids,
            mistakes: self.mistakes + other.mistakes,
            fallbacks: self.fallbacks + other.fallbacks,
        }
    }
}

/// A model cut into encoder and decoder, ready to run.
#[derive(Debug)]
pub struct Decoder {
    encoder: Box<dyn Graph>,
    /// Absent where nothing is verified.
    decoder: Option<Box<dyn Graph>>,
    memory_names: Vec<String>,
    cache: Cache,
    grammar: TargetGrammar,
    /// Absent without a classifier.
    transitions: Option<Transitions>,
    legal: Option<LegalIds>,
    mode: Mode,
    redraft: bool,
    /// What a pass costs beside its tokens, in tokens.
    pass_cost: f64,
    limits: Limits,
    statistics: Statistics,
}

/// What the decoder reads of a batch of sources.
struct Memory {
    /// `[batch, source_len]`.
    attention_mask: Value,
    /// The cross-attention's keys and values, each `[batch, heads, source_len, d_kv]`.
    cross: Vec<Value>,
}

impl Decoder {
    /// Cuts the model of `file` in two and opens both parts, as far as the mode of `options` needs them.
    ///
    /// # Errors
    /// If the model cannot be cut, the backend does not take a part, or the mode needs what the model lacks.
    pub fn new(
        backend: &Backend,
        file: &ModelFile,
        codec: &SentT,
        options: &TaggerOptions,
    ) -> Result<Self, DecoderError> {
        let (model, metadata) = (file.model(), file.metadata());
        let TaggerOptions { mode, draft_from: from, .. } = *options;
        let open = |part, model: &ModelProto| {
            backend.open(model, file.weights()).map_err(|error| DecoderError::Backend { part, error })
        };
        let classifier = metadata.drafter.clone().filter(|_| match mode {
            Mode::Greedy => false,
            Mode::Verified | Mode::Constrained => from == DraftFrom::Classifier,
            Mode::Draft => true,
        });
        if mode == Mode::Draft && classifier.is_none() {
            return Err(DecoderError::NoDrafter);
        }
        let grammar = TargetGrammar::new(codec, &metadata.labels)?;
        let legal = match mode {
            Mode::Constrained => Some(legal_ids(file, &grammar)?),
            _ => None,
        };
        let memory_names = if mode == Mode::Draft { vec![] } else { memory_names(metadata) };
        let chosen = legal.as_ref().map_or(Chosen::Ids, |legal| Chosen::Logits(legal.vocabulary()));
        let encoder = split::encoder(model, &memory_names, classifier.is_some())?;
        let decoder = match mode {
            Mode::Draft => None,
            _ => {
                let decoder = split::decoder(model, &memory_names, &cache_names(metadata), chosen)?;
                Some(open("decoder", &decoder)?)
            }
        };
        Ok(Self {
            encoder: open("encoder", &encoder)?,
            decoder,
            memory_names,
            cache: cache(model, metadata)?,
            grammar,
            transitions: classifier,
            legal,
            mode,
            redraft: from != DraftFrom::Outside,
            pass_cost: if backend.uses_gpu() { GPU_PASS_COST } else { CPU_PASS_COST },
            limits: Limits {
                pad: metadata.pad_token_id,
                eos: codec.eos(),
                start: metadata.decoder_start_token_id,
                // A tag for each word is promised, however long the target gets.
                max_target_len: if mode == Mode::Constrained { usize::MAX } else { metadata.max_target_len },
                vocab_size: file.vocab_size(),
                horizon: usize::MAX,
            },
            statistics: Statistics::default(),
        })
    }

    /// What decoding has cost since the decoder was made.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The target of each source: ids after the start token, up to and with `</s>` or, if that does not come, the
    /// longest target's length. All sources are run as one batch.
    ///
    /// # Errors
    /// If the backend fails.
    pub fn target_ids(&mut self, sources: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, BackendError> {
        if sources.is_empty() {
            return Ok(vec![]);
        }
        let (mut memory, sentences) = self.encode(sources)?;
        let mut past = Past::new(&self.cache, sources.len())?;
        let rows = sentences.into_iter().enumerate();
        let mut rows: Vec<Row> = rows.map(|(k, sentence)| Row::new(k, sentence, self.limits)).collect();
        if let Some(drafter) = self.drafter() {
            rows.iter_mut().for_each(|row| row.draft(drafter, &Hints::default(), self.limits));
        }
        let mut targets = vec![vec![]; sources.len()];
        while self.decoder.is_some() && !rows.iter().all(Row::ended) {
            self.limits.horizon = self.horizon(&rows);
            self.pass(&memory, &mut past, &mut rows)?;
            if rows.iter().any(Row::ended) {
                let stay: Vec<usize> = (0..rows.len()).filter(|&at| !rows[at].ended()).collect();
                memory.keep(&stay)?;
                past.keep(&stay)?;
                for row in rows.extract_if(.., |row| row.ended()) {
                    self.statistics.add(&row);
                    let index = row.index;
                    targets[index] = row.into_ids();
                }
            }
        }
        // Drafts that nothing verifies.
        for row in rows {
            self.statistics.add(&row);
            let index = row.index;
            targets[index] = row.into_ids();
        }
        Ok(targets)
    }

    fn drafter(&self) -> Option<Drafter<'_>> {
        let Self { grammar, transitions, redraft, .. } = self;
        (self.mode != Mode::Greedy).then_some(Drafter {
            grammar,
            transitions: transitions.as_ref(),
            redraft: *redraft,
        })
    }

    /// Most ids of a target that a pass over `rows` had better decide.
    fn horizon(&self, rows: &[Row]) -> usize {
        let Statistics { mistakes, ids, .. } = self.statistics;
        let rate = (mistakes + 1) as f64 / (ids + 50) as f64;
        let limits = Limits { horizon: usize::MAX, ..self.limits };
        let left: Vec<usize> = rows.iter().map(|row| row.undecided(limits).len()).collect();
        horizon(&left, rate, self.pass_cost)
    }

    /// Runs the encoder over `sources`, once, or for parts of them where that saves padding.
    fn encode(&mut self, sources: &[Vec<u32>]) -> Result<(Memory, Vec<Sentence>), BackendError> {
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut parts = Vec::new();
        let mut sentences = Vec::new();
        for part in parts_of_like_length(&lengths, self.pass_cost) {
            let (cross, drafted) = self.encode_part(&sources[part])?;
            parts.push(cross);
            sentences.extend(drafted);
        }
        let cross = match parts.len() {
            1 => parts.remove(0),
            _ => {
                let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
                // Each is freed as soon as it is copied.
                let stacked =
                    |_| Value::stacked(&parts.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
                (0..self.memory_names.len()).map(stacked).collect::<Result<_, _>>()?
            }
        };
        Ok((Memory { attention_mask: mask(&lengths, longest)?, cross }, sentences))
    }

    /// What the encoder gives for `sources`, padded at the end to the longest, and what they are drafted from.
    fn encode_part(&mut self, sources: &[Vec<u32>]) -> Result<(Vec<Value>, Vec<Sentence>), BackendError> {
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        let length = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(sources.len() * length);
        for source in sources {
            ids.extend(source.iter().map(|&id| i64::from(id)));
            ids.extend(std::iter::repeat_n(self.limits.pad, length - source.len()));
        }
        let input_ids = Value::from_i64s(&[sources.len(), length], ids)?;
        let attention_mask = mask(&lengths, length)?;
        let mut cross = self.encoder.run(&[(INPUT_IDS, &input_ids), (ATTENTION_MASK, &attention_mask)])?;
        let scores = if self.transitions.is_some() { cross.pop() } else { None };
        let sentences = self.sentences(sources, length, scores.as_ref())?;
        Ok((cross, sentences))
    }

    /// Words of each source and their scores, summed from the classifier's `[batch, length, roles * tags]`.
    fn sentences(
        &self,
        sources: &[Vec<u32>],
        length: usize,
        scores: Option<&Value>,
    ) -> Result<Vec<Sentence>, BackendError> {
        let grammar = &self.grammar;
        let tags = grammar.tags();
        let shape = [sources.len(), length, ROLES * tags];
        let scores = scores.map(Value::f32s).transpose()?;
        let expected: usize = shape.iter().product();
        if let Some(found) = scores.map(<[f32]>::len).filter(|found| *found != expected) {
            return Err(BackendError::Shape { shape: shape.to_vec(), found });
        }
        let sentence = |(row, source): (usize, &Vec<u32>)| {
            let sentinels = grammar.sentinels().positions(source.iter().copied());
            let words = sentinels.len().saturating_sub(1);
            let mut sums = vec![0.0; scores.map_or(0, |_| words * tags)];
            for (word, sums) in sums.chunks_mut(tags).enumerate() {
                for (role, at) in read_from(&sentinels, word).into_iter().enumerate() {
                    let Some(at) = at else { continue };
                    let start = ((row * length + at) * ROLES + role) * tags;
                    let added = scores.unwrap_or_default()[start..start + tags].iter();
                    sums.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
                }
            }
            Sentence { words, scores: sums }
        };
        Ok(sources.iter().enumerate().map(sentence).collect())
    }

    /// One pass of the decoder over what `rows` have not settled yet.
    fn pass(&mut self, memory: &Memory, past: &mut Past, rows: &mut [Row]) -> Result<(), BackendError> {
        let limits = self.limits;
        let wanted: Vec<Vec<usize>> = rows
            .iter()
            .map(|row| match &self.legal {
                None => row.undecided(limits).collect(),
                Some(legal) => legal.open_positions(row, &self.grammar, limits),
            })
            .collect();
        let seen = self.choose(memory, past, rows, &wanted)?;
        let (mut ids, mut logits): (&[i64], &[f32]) = (&[], &[]);
        match (&seen, &self.legal) {
            (Some(seen), None) => ids = seen.chosen.i64s()?,
            (Some(seen), Some(_)) => logits = seen.chosen.f32s()?,
            (None, _) => {}
        }
        for (row, wanted) in rows.iter_mut().zip(wanted) {
            let choices: Vec<u32> = match &self.legal {
                None => {
                    let (mine, rest) = ids.split_at(wanted.len());
                    ids = rest;
                    // An argmax over the vocabulary is a small number that is not negative.
                    mine.iter().map(|id| u32::try_from(*id).unwrap_or_default()).collect()
                }
                Some(legal) => {
                    let (mine, rest) = logits.split_at(wanted.len() * legal.vocabulary().len());
                    logits = rest;
                    legal.choices(row, &self.grammar, limits, &wanted, mine)
                }
            };
            row.take(&choices, self.drafter(), limits);
        }
        let Some(Seen { length, all, .. }) = seen else { return Ok(()) };
        // The decoder's input at k is the id before position k: it has seen the ids before the newest one.
        let settled = rows.iter().zip(past.tokens()).map(|(row, seen)| (row.accepted() - seen).min(length));
        past.extend(all, length, settled)
    }

    /// What the decoder says at the `wanted` positions of each row: the most likely id, or the logits of the legal ones,
    /// one after the other. Nothing is run where nothing is wanted.
    fn choose(
        &mut self,
        memory: &Memory,
        past: &Past,
        rows: &[Row],
        wanted: &[Vec<usize>],
    ) -> Result<Option<Seen>, BackendError> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        let tokens = past.tokens();
        // The choice at position k is made behind the start token and k ids.
        let ends = tokens.iter().zip(wanted).filter_map(|(tokens, wanted)| Some(wanted.last()? + 1 - tokens));
        let Some(length) = ends.max() else { return Ok(None) };
        let mut ids = Vec::with_capacity(rows.len() * length);
        for (row, tokens) in rows.iter().zip(&tokens) {
            let inputs = [self.limits.start].into_iter().chain(row.target().iter().map(|&id| i64::from(id)));
            ids.extend(inputs.skip(*tokens).take(length));
            ids.resize(ids.len().next_multiple_of(length), self.limits.pad);
        }
        let flat = tokens.iter().zip(wanted).enumerate().flat_map(|(row, (tokens, wanted))| {
            wanted.iter().map(move |position| (row * length + position - tokens) as i64)
        });
        let flat: Vec<i64> = flat.collect();
        let count = flat.len();
        let targets = Value::from_i64s(&[rows.len(), length], ids)?;
        let flat = Value::from_i64s(&[count], flat)?;
        let [queries, keys] = past.positions(length)?;
        let past = self.cache.inputs.iter().map(String::as_str).zip(past.values());
        let cross = self.memory_names.iter().map(String::as_str).zip(&memory.cross);
        let inputs: Vec<(&str, &Value)> = [
            (DECODER_INPUT_IDS, &targets),
            (ATTENTION_MASK, &memory.attention_mask),
            (QUERY_POSITIONS, &queries),
            (KEY_POSITIONS, &keys),
            (WANTED, &flat),
        ]
        .into_iter()
        .chain(cross)
        .chain(past)
        .collect();
        let mut outputs = decoder.run(&inputs)?.into_iter();
        let per_position = self.legal.as_ref().map_or(1, |legal| legal.vocabulary().len());
        match outputs.next() {
            Some(chosen) if chosen.shape().iter().product::<usize>() == count * per_position => {
                Ok(Some(Seen { length, chosen, all: outputs.collect() }))
            }
            other => {
                let found = other.map_or(0, |chosen| chosen.shape().iter().product());
                Err(BackendError::Shape { shape: vec![count, per_position], found })
            }
        }
    }
}

/// What a pass of the decoder gave.
struct Seen {
    /// Tokens of each row that it covered.
    length: usize,
    /// Of each wanted position.
    chosen: Value,
    /// The self-attention's keys and values of all tokens so far, each `[rows, heads, columns + length, d_kv]`.
    all: Vec<Value>,
}

/// What `model` can keep of its targets' tokens.
fn cache(model: &ModelProto, metadata: &TaggerMetadata) -> Result<Cache, SplitError> {
    let names = cache_names(metadata);
    let shape = model.graph.as_ref().zip(names.first()).map(|(graph, name)| split::cache_shape(graph, name));
    let [heads, d_kv] = shape.transpose()?.unwrap_or_default();
    Ok(Cache { inputs: names.iter().map(|name| split::past(name)).collect(), heads, d_kv })
}

/// The ids of well-formed targets, all of which the graph of `file` can write.
fn legal_ids(file: &ModelFile, grammar: &TargetGrammar) -> Result<LegalIds, DecoderError> {
    let legal = LegalIds::new(grammar)?;
    let vocab_size = file.vocab_size();
    match legal.vocabulary().iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(DecoderError::Vocabulary { id, vocab_size }),
        None => Ok(legal),
    }
}

/// 1 for each token and 0 for padding, `[batch, longest]`.
fn mask(lengths: &[usize], longest: usize) -> Result<Value, BackendError> {
    let row = |&length: &usize| (0..longest).map(move |at| i64::from(at < length));
    Value::from_i64s(&[lengths.len(), longest], lengths.iter().flat_map(row).collect())
}

impl Memory {
    /// Leaves only these rows.
    fn keep(&mut self, rows: &[usize]) -> Result<(), BackendError> {
        if rows.is_empty() {
            return Ok(());
        }
        for value in self.cross.iter_mut().chain([&mut self.attention_mask]) {
            *value = value.select_rows(rows)?;
        }
        Ok(())
    }
}
