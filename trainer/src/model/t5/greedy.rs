//! Greedy decoding with cached keys and values: the reference that faster ways of decoding are tested against.

use hyperloader_core::weights::task::TaskWeights;
use tch::{Kind, Tensor, no_grad};

use super::network::{Past, Source, T5};
use crate::model::mode::Mode;

/// The rows of a batch that have not ended yet, and the decoder's state for them.
struct Open {
    /// Their indices in the batch.
    rows: Vec<usize>,
    /// Their newest ids, `[open, 1]`.
    ids: Tensor,
    past: Past,
    source: Source,
    /// `[open, heads or 1, max_len or 1, source_len]`.
    cross_bias: Tensor,
}

impl T5 {
    /// Generates the most likely token at each step, for each row of `input_ids` `[batch, source_len]` with
    /// `attention_mask` of the same shape. Rows hold at most `max_len` ids, without the start token and with `</s>`.
    /// They are padded after their `</s>` to the length of the longest. Rows that have ended leave the batch.
    pub fn greedy(
        &self,
        weights: &TaskWeights<Tensor>,
        input_ids: &Tensor,
        attention_mask: &Tensor,
        max_len: usize,
    ) -> Vec<Vec<u32>> {
        no_grad(|| {
            let source = self.read(weights, [input_ids, attention_mask], Mode::Evaluation);
            let max = max_len as i64;
            let (self_bias, cross_bias) = (self.causal_self_bias(max), self.cross_bias(&source, max));
            let batch = input_ids.size()[0];
            let mut rows = vec![Vec::new(); batch as usize];
            let start = self.config.decoder_start_token_id;
            let ids = Tensor::full([batch, 1], start, (Kind::Int64, self.device()));
            let mut open =
                Open { rows: (0..rows.len()).collect(), ids, past: Past::new(), source, cross_bias };
            for position in 0..max {
                if open.rows.is_empty() {
                    break;
                }
                let seen = self_bias.narrow(2, position, 1).narrow(3, 0, position + 1);
                let chosen = self.greedy_step(weights, &mut open, &seen, position);
                for (row, id) in open.rows.iter().zip(&chosen) {
                    rows[*row].push(*id as u32);
                }
                open.drop_ended(&chosen, self.config.eos_token_id);
            }
            let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
            rows.iter_mut().for_each(|row| row.resize(longest, self.config.pad_token_id as u32));
            rows
        })
    }

    /// The most likely next id of each open row.
    fn greedy_step(
        &self,
        weights: &TaskWeights<Tensor>,
        Open { rows, ids, past, source, cross_bias }: &mut Open,
        self_bias: &Tensor,
        position: i64,
    ) -> Vec<i64> {
        // Without a relative bias, one row is valid for all positions.
        let row = position.min(cross_bias.size()[2] - 1);
        let cross = (&*source, &cross_bias.narrow(2, row, 1));
        let output = self.decode_after(weights, ids, (past, None), self_bias, cross);
        let best = self.logits(&output.squeeze_dim(1)).argmax(-1, false);
        let mut chosen = vec![0; rows.len()];
        best.copy_data(&mut chosen, rows.len());
        *ids = best.unsqueeze(1);
        chosen
    }
}

impl Open {
    /// Removes the rows whose newest id is `eos`.
    fn drop_ended(&mut self, newest: &[i64], eos: i64) {
        let stay: Vec<i64> = (0_i64..).zip(newest).filter(|(_, id)| **id != eos).map(|(i, _)| i).collect();
        if stay.len() == newest.len() {
            return;
        }
        self.rows = stay.iter().map(|i| self.rows[*i as usize]).collect();
        let stay = Tensor::from_slice(&stay).to_device(self.ids.device());
        self.ids = self.ids.index_select(0, &stay);
        self.cross_bias = self.cross_bias.index_select(0, &stay);
        self.source.keep(&stay);
        self.past.iter_mut().flatten().for_each(|past| past.keep(&stay));
    }
}
