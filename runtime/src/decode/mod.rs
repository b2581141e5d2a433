//! Target ids from source ids.
//!
//! Every mode runs the same loop: a pass of the decoder decides some positions of each target, and a row that has ended
//! leaves the batch. Certain ids are not run again, because the self-attention's keys and values of them are kept. The modes
//! differ in how many positions a pass decides: one in `greedy`, all positions of a draft of the whole target in `verified`.
//! There, drafted ids are kept as far as the decoder would have chosen them itself, so the result is that of `greedy` (cf. Ge
//! et al. 2022, arXiv 2205.10350).
//!
//! - [`encoder`]: runs the encoder, once per batch
//! - [`choices`]: the ids that a pass chooses, and their scores
//! - [`chooser`]: runs the decoder over what the targets have not settled yet
//! - [`past`]: keys and values of earlier passes
//! - [`legal`]: the ids that a well-formed target allows, for `constrained`
//! - [`plan`]: how many sources a run of the encoder takes on
//!
//! [`hyperloader_core::decode`] has what does not depend on the backend: targets, drafts and how many ids a pass decides.

mod choices;
mod chooser;
mod encoder;
mod legal;
mod past;
mod plan;

use hyperloader_core::decode::draft::{Drafter, Hints};
use hyperloader_core::decode::horizon::horizon;
use hyperloader_core::decode::limits::Limits;
use hyperloader_core::decode::rows::{Decoded, Row};
use hyperloader_core::text::drafter::Transitions;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_onnx::proto::ModelProto;

use self::choices::{ChoiceRule, Outputs};
use self::chooser::{Chooser, Chosen};
use self::encoder::{Encoder, Memory};
use self::past::{Cache, Past};
use crate::backend::{Backend, BackendError};
use crate::error::GraphFault;
use crate::halves::Halves;
use crate::model::{Output, Parts, Source, Worker};
use crate::options::{DraftFrom, Mode, TaggerOptions};
use crate::split::{self, cache_names, memory_names};
use crate::statistics::Statistics;

/// The cost of a pass of the decoder apart from its tokens, in tokens. On a CPU it is the time to read the weights from
/// memory (T5-base in `bench/decode`: 20 ms, and 1.4 ms per token).
const CPU_PASS_COST: f64 = 20.0;
/// On a GPU it is the time to start the kernels, and tokens cost little: an estimate.
const GPU_PASS_COST: f64 = 500.0;

/// The graphs that a decoder with scores runs in mode `verified`, for other programs.
///
/// # Errors
/// If the model cannot be split.
pub(crate) fn halves(file: Parts<'_>, grammar: &TargetGrammar) -> Result<Halves, GraphFault> {
    let Parts { model, metadata, vocab_size, .. } = file;
    let options = TaggerOptions { scores: true, ..TaggerOptions::default() };
    let rule = ChoiceRule::new(file, grammar, &options)?;
    let (memory, cache) = (memory_names(metadata), cache_names(metadata));
    let [heads, d_kv] = Cache::of(model, metadata)?.shape();
    Ok(Halves {
        encoder: split::encoder(model, &memory, metadata.drafter.is_some())?,
        decoder: split::decoder(model, &memory, &cache, rule.outputs())?,
        memory,
        past: cache.iter().map(|name| [split::past(name), split::all(name)]).collect(),
        heads,
        d_kv,
        scored_ids: rule.scored_ids().to_vec(),
        vocab_size,
    })
}

/// A model split into encoder and decoder, ready to run.
#[derive(Debug)]
pub(crate) struct Decoder {
    encoder: Encoder,
    /// Absent in `draft`, which verifies nothing.
    chooser: Option<Chooser>,
    cache: Cache,
    grammar: TargetGrammar,
    /// Absent if no classifier drafts.
    transitions: Option<Transitions>,
    rule: ChoiceRule,
    mode: Mode,
    redraft: bool,
    limits: Limits,
    statistics: Statistics,
}

impl Decoder {
    /// Splits the model of `file` and opens the parts that the mode of `options` needs.
    ///
    /// # Errors
    /// If the model cannot be split, the backend does not accept a part, or the model lacks what the mode needs.
    pub(crate) fn new(
        backend: &Backend,
        file: Parts<'_>,
        grammar: &TargetGrammar,
        options: &TaggerOptions,
    ) -> Result<Self, GraphFault> {
        let Parts { model, metadata, vocab_size, .. } = file;
        let TaggerOptions { mode, draft_from, .. } = *options;
        let open = |part, model: &ModelProto| {
            backend.open(model, file.weights).map_err(|source| GraphFault::Backend { part, source })
        };
        let transitions = metadata.drafter.clone().filter(|_| match mode {
            Mode::Greedy => false,
            Mode::Verified | Mode::Constrained => draft_from == DraftFrom::Classifier,
            Mode::Draft => true,
        });
        if mode == Mode::Draft && transitions.is_none() {
            return Err(GraphFault::NoDrafter);
        }
        if mode == Mode::Draft && options.needs_scores() {
            return Err(GraphFault::NoScores);
        }
        let rule = ChoiceRule::new(file, grammar, options)?;
        let memory_names = if mode == Mode::Draft { vec![] } else { memory_names(metadata) };
        let chosen = rule.outputs();
        let encoder = split::encoder(model, &memory_names, transitions.is_some())?;
        let chooser = match mode {
            Mode::Draft => None,
            _ => {
                let decoder = split::decoder(model, &memory_names, &cache_names(metadata), chosen)?;
                Some(Chooser {
                    graph: open("decoder", &decoder)?,
                    widths: chosen.widths(),
                    start: metadata.decoder_start_token_id,
                    pad: metadata.pad_token_id,
                })
            }
        };
        Ok(Self {
            encoder: Encoder {
                graph: open("encoder", &encoder)?,
                memory_names,
                drafted_tags: transitions.as_ref().map(|_| grammar.tags()),
                pad: metadata.pad_token_id,
                pass_cost: if backend.uses_gpu() { GPU_PASS_COST } else { CPU_PASS_COST },
            },
            chooser,
            cache: Cache::of(model, metadata)?,
            grammar: grammar.clone(),
            transitions,
            rule,
            mode,
            redraft: draft_from != DraftFrom::Outside,
            limits: Limits {
                eos: grammar.eos(),
                // `constrained` gives every word a tag, however long the target becomes.
                max_target_len: if mode == Mode::Constrained { usize::MAX } else { metadata.max_target_len },
                vocab_size,
                horizon: usize::MAX,
            },
            statistics: Statistics::default(),
        })
    }

    fn drafter(&self) -> Option<Drafter<'_>> {
        let Self { grammar, transitions, redraft, .. } = self;
        (self.mode != Mode::Greedy).then_some(Drafter {
            grammar,
            transitions: transitions.as_ref(),
            redraft: *redraft,
        })
    }

    /// The best number of ids of each target that a pass over `rows` decides.
    fn horizon(&self, rows: &[Row]) -> usize {
        let Statistics { mistakes, ids, .. } = self.statistics;
        let rate = (mistakes + 1) as f64 / (ids + 50) as f64;
        let limits = Limits { horizon: usize::MAX, ..self.limits };
        let left: Vec<usize> = rows.iter().map(|row| row.undecided(limits).len()).collect();
        horizon(&left, rate, self.encoder.pass_cost)
    }

    /// One pass of the decoder over what `rows` have not settled yet.
    fn pass(&mut self, memory: &Memory, past: &mut Past, rows: &mut [Row]) -> Result<(), BackendError> {
        let limits = self.limits;
        let wanted: Vec<Vec<usize>> =
            rows.iter().map(|row| self.rule.wanted(row, &self.grammar, limits)).collect();
        let memory = (self.encoder.memory_names.as_slice(), memory);
        let chosen = match &mut self.chooser {
            Some(chooser) => chooser.choose(memory, past, rows, &wanted)?,
            None => None,
        };
        let mut outputs = match &chosen {
            Some(chosen) => Outputs::new(&chosen.values, self.rule.outputs())?,
            None => Outputs::default(),
        };
        for (row, wanted) in rows.iter_mut().zip(wanted) {
            let choices = self.rule.choices(row, &self.grammar, limits, &wanted, &mut outputs);
            row.take(&choices, self.drafter(), limits);
        }
        let Some(Chosen { length, past: seen, .. }) = chosen else { return Ok(()) };
        // The decoder's input at k is the id before position k: it has seen the ids before the newest one.
        let settled = rows.iter().zip(past.tokens()).map(|(row, seen)| (row.accepted() - seen).min(length));
        past.extend(seen, length, settled)
    }

    /// Moves the target of `row` to its place in `targets` and counts its cost.
    fn finish(&mut self, row: Row, targets: &mut [Output]) {
        let index = row.index;
        let Decoded { ids, scores, is_faulty, passes, mistakes, fell_back } = row.into_decoded();
        self.statistics += Statistics {
            parts: 1,
            passes,
            ids: ids.len(),
            mistakes,
            fallbacks: usize::from(fell_back),
            ..Statistics::default()
        };
        targets[index] = Output { ids, scores, is_faulty };
    }
}

impl Worker for Decoder {
    /// Ids after the start token, up to and with `</s>`, or as many as the longest target has.
    fn run(&mut self, sources: &[&Source]) -> Result<Vec<Output>, BackendError> {
        if sources.is_empty() {
            return Ok(vec![]);
        }
        let (mut memory, sentences) = self.encoder.encode(sources)?;
        let mut past = Past::new(&self.cache, sources.len())?;
        let rows = sentences.into_iter().enumerate();
        let mut rows: Vec<Row> = rows.map(|(k, sentence)| Row::new(k, sentence, self.limits)).collect();
        if let Some(drafter) = self.drafter() {
            rows.iter_mut().for_each(|row| row.draft(drafter, &Hints::default(), self.limits));
        }
        let mut targets = vec![Output::default(); sources.len()];
        while self.chooser.is_some() && !rows.iter().all(Row::ended) {
            self.limits.horizon = self.horizon(&rows);
            self.pass(&memory, &mut past, &mut rows)?;
            if rows.iter().any(Row::ended) {
                let stay: Vec<usize> = (0..rows.len()).filter(|&at| !rows[at].ended()).collect();
                memory.keep(&stay)?;
                past.keep(&stay)?;
                for row in rows.extract_if(.., |row| row.ended()) {
                    self.finish(row, &mut targets);
                }
            }
        }
        // In `draft`, no pass verifies the drafts.
        for row in rows {
            self.finish(row, &mut targets);
        }
        Ok(targets)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
