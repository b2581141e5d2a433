//! Verified decoding (docs/decoding.md) of sentences whose targets are known: they are the first drafts, so one pass of the
//! decoder gives the loss and settles the targets that the model agrees with. The ids are those of greedy decoding.

use std::ops::Range;

use hyperloader_core::decode::draft::{Draft, Drafter, Sentence};
use hyperloader_core::decode::horizon::horizon;
use hyperloader_core::decode::limits::Limits;
use hyperloader_core::decode::rows::{Choices, Row};
use hyperloader_core::text::source::PaddedRows;
use hyperloader_core::text::target::TargetGrammar;
use hyperloader_core::weights::task::TaskWeights;
use tch::{Device, Tensor, no_grad};

use super::attention::Places;
use super::network::{Past, Source, T5};
use crate::data::batch::Batch;
use crate::data::example::Example;
use crate::loss::StepLoss;
use crate::model::mode::Mode;
use crate::model::packing::Packing;

/// The cost of a pass of the decoder apart from its tokens, in tokens. Of 5, 20, 80 and
/// 1,000, none was faster than 80 on a CPU (the nano backbone, `examples/evaluation_speed.rs`).
const PASS_COST: f64 = 80.0;

/// The rows of a batch whose targets are not settled, and the decoder's state for them.
struct Open<'a> {
    drafter: Drafter<'a>,
    limits: Limits,
    rows: Vec<Row>,
    source: Source,
    past: Past,
    /// The number of columns of `past`.
    width: i64,
}

impl T5 {
    /// The loss of a batch, as [`T5::loss`] without dropout, and the ids that [`T5::greedy`] generates for each row, without
    /// padding. `batch` holds `examples`.
    pub fn loss_and_ids(
        &self,
        weights: &TaskWeights<Tensor>,
        (batch, examples): (&Batch, &[&Example]),
        grammar: &TargetGrammar,
        label_smoothing: f64,
        max_target_len: usize,
    ) -> (StepLoss, Vec<Vec<u32>>) {
        let vocab_size = self.config.vocab_size;
        let limits = Limits { eos: grammar.eos(), max_target_len, vocab_size, horizon: usize::MAX };
        let drafter = Drafter { grammar, transitions: None, redraft: true };
        let drafted = |(index, example): (usize, &&Example)| {
            let sentence = Sentence { words: example.tags.len(), scores: vec![] };
            let mut row = Row::new(index, sentence, limits);
            row.propose(Draft::of_target(grammar, &example.target), limits);
            row
        };
        let rows: Vec<Row> = examples.iter().enumerate().map(drafted).collect();
        no_grad(|| {
            let Batch { input_ids, attention_mask, target_ids } = batch;
            let source = self.read(weights, [input_ids, attention_mask], Mode::Evaluation);
            let (past, width) = (Past::new(), target_ids.size()[1]);
            let mut open = Open { drafter, limits, rows, source, past, width };
            let loss = self.first_pass(weights, target_ids, label_smoothing, &mut open);
            let mut ids = vec![Vec::new(); examples.len()];
            while open.drop_ended(&mut ids) {
                self.pass(weights, &mut open);
            }
            (loss, ids)
        })
    }

    /// The pass over the whole targets of the corpus, `target_ids` `[batch, target_len]`.
    fn first_pass(
        &self,
        weights: &TaskWeights<Tensor>,
        target_ids: &Tensor,
        label_smoothing: f64,
        open: &mut Open<'_>,
    ) -> StepLoss {
        let real = target_ids.not_equal(self.config.pad_token_id);
        let packing = Packing::new(&real);
        let target = (target_ids, &packing);
        let past = Some(&mut open.past);
        let states = self.target_states(weights, target, &open.source, past, Mode::Evaluation);
        let targets = packing.packed(target_ids);
        let (loss, likeliest) = self.head.label_smoothed_and_likeliest(&states, &targets, label_smoothing);
        let lengths = real.sum_dim_intlist([1_i64].as_slice(), false, None);
        open.take(&numbers(&likeliest), &numbers(&lengths));
        loss
    }

    /// A pass over what the targets have not settled.
    fn pass(&self, weights: &TaskWeights<Tensor>, open: &mut Open<'_>) {
        open.limits.horizon = open.horizon();
        let Unsettled { inputs, positions, wanted, counts, width } =
            open.unsettled(self.config.decoder_start_token_id, self.config.pad_token_id, self.device());
        open.width = width;
        let self_bias = rows_at(&self.causal_self_bias(width), &positions);
        let cross_bias = rows_at(&self.cross_bias(&open.source, width), &positions);
        let places = Places { columns: positions, width };
        let past = (&mut open.past, Some(&places));
        let states = self.decode_after(weights, &inputs, past, &self_bias, (&open.source, &cross_bias));
        let states = states.reshape([-1, self.config.d_model as i64]).index_select(0, &wanted);
        open.take(&numbers(&self.head.likeliest_ids(&states)), &counts);
    }
}

/// The decoder's inputs that the next pass covers: `len` of each of the open rows.
struct Unsettled {
    /// Ids, int64 `[rows, len]`, padded at the end.
    inputs: Tensor,
    /// Their positions in the target, int64 `[rows, len]`.
    positions: Tensor,
    /// The flat indices of those that are not padding, int64 `[wanted]`.
    wanted: Tensor,
    /// The number of them in each row.
    counts: Vec<i64>,
    /// The number of positions up to and with the last.
    width: i64,
}

impl Open<'_> {
    /// Takes the ids that the decoder `chose` for each row in turn, as many as `counts` says.
    fn take(&mut self, mut chosen: &[i64], counts: &[i64]) {
        for (row, count) in self.rows.iter_mut().zip(counts) {
            let of_row;
            (of_row, chosen) = chosen.split_at(*count as usize);
            let wanted = row.undecided(self.limits).len();
            let ids = of_row.iter().take(wanted).map(|id| *id as u32).collect();
            row.take(&Choices { ids, ..Choices::default() }, Some(self.drafter), self.limits);
        }
    }

    /// Moves the targets of the rows that have ended to their places in `ids`. Returns whether any rows are left.
    fn drop_ended(&mut self, ids: &mut [Vec<u32>]) -> bool {
        if self.rows.iter().any(Row::ended) {
            let stay: Vec<i64> =
                (0..).zip(&self.rows).filter(|(_, row)| !row.ended()).map(|(at, _)| at).collect();
            for row in self.rows.extract_if(.., |row| row.ended()) {
                let index = row.index;
                ids[index] = row.into_decoded().ids;
            }
            let stay = Tensor::from_slice(&stay).to_device(self.source.device());
            self.source.keep(&stay);
            self.past.iter_mut().flatten().for_each(|past| past.keep(&stay));
        }
        !self.rows.is_empty()
    }

    /// The best number of ids of each target that the next pass decides.
    fn horizon(&self) -> usize {
        let mistakes: usize = self.rows.iter().map(Row::mistakes).sum();
        let settled: usize = self.rows.iter().map(Row::accepted).sum();
        let all = Limits { horizon: usize::MAX, ..self.limits };
        let left: Vec<usize> = self.rows.iter().map(|row| row.undecided(all).len()).collect();
        horizon(&left, (mistakes + 1) as f64 / (settled + 50) as f64, PASS_COST)
    }

    fn unsettled(&self, start: i64, pad: i64, device: Device) -> Unsettled {
        let undecided: Vec<Range<usize>> = self.rows.iter().map(|row| row.undecided(self.limits)).collect();
        let inputs = self.rows.iter().zip(&undecided).map(|(row, undecided)| {
            let ids = row.target().iter().map(|id| i64::from(*id));
            std::iter::once(start).chain(ids).skip(undecided.start).take(undecided.len())
        });
        let inputs = PaddedRows::new(inputs, pad);
        let len = inputs.shape[1];
        let positions: Vec<i64> =
            undecided.iter().flat_map(|range| range.start..range.start + len).map(|at| at as i64).collect();
        let real = inputs.mask().into_iter().zip(0..).filter(|(mask, _)| *mask == 1);
        let wanted: Vec<i64> = real.map(|(_, at)| at).collect();
        let last = positions.iter().max().map_or(0, |last| last + 1);
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let shape = inputs.shape.map(|size| size as i64);
        Unsettled {
            inputs: tensor(&inputs.values).view(shape),
            positions: tensor(&positions).view(shape),
            wanted: tensor(&wanted),
            counts: inputs.lengths.iter().map(|length| *length as i64).collect(),
            width: self.width.max(last),
        }
    }
}

/// The rows of `bias` `[1 or batch, heads, positions or 1, keys]` at `positions` `[batch, len]`:
/// `[batch, heads, len or 1, keys]`.
fn rows_at(bias: &Tensor, positions: &Tensor) -> Tensor {
    let (size, batch) = (bias.size(), positions.size()[0]);
    if size[2] == 1 {
        return bias.shallow_clone();
    }
    let index =
        positions.unsqueeze(1).unsqueeze(-1).expand([batch, size[1], positions.size()[1], size[3]], false);
    bias.expand([batch, size[1], size[2], size[3]], false).gather(2, &index, false)
}

/// The elements of a tensor of int64.
fn numbers(tensor: &Tensor) -> Vec<i64> {
    let mut numbers = vec![0; tensor.numel()];
    tensor.copy_data(&mut numbers, tensor.numel());
    numbers
}
