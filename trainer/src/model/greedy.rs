//! Greedy decoding with cached keys and values: the oracle that faster ways of decoding are compared with.

use hyperloader_core::task_weights::TaskWeights;
use tch::{Kind, Tensor, no_grad};

use super::layers::Mode;
use super::t5::{Past, T5};

impl T5 {
    /// The most likely token, one after the other, for each row of `input_ids` `[batch, source_len]` with
    /// `attention_mask` of the same shape. Rows hold at most `max_len` ids, without the start token and with `</s>`;
    /// all are as long as the longest, padded behind their `</s>`.
    pub fn greedy(
        &self,
        weights: &TaskWeights<Tensor>,
        input_ids: &Tensor,
        attention_mask: &Tensor,
        max_len: usize,
    ) -> Vec<Vec<i64>> {
        no_grad(|| {
            let states = self.encode(weights, input_ids, attention_mask, Mode::Evaluation);
            let source = self.source(weights, &states, attention_mask);
            let max = max_len as i64;
            let (self_bias, cross_bias) = (self.causal_self_bias(max), self.cross_bias(&source, max));
            let batch = input_ids.size()[0];
            let mut rows = vec![Vec::new(); batch as usize];
            let mut ended = vec![false; rows.len()];
            let mut past = Past::new();
            let mut ids =
                Tensor::full([batch, 1], self.config.decoder_start_token_id, (Kind::Int64, self.device()));
            for position in 0..max {
                let seen = self_bias.narrow(2, position, 1).narrow(3, 0, position + 1);
                // Without a relative bias one row serves all positions.
                let row = position.min(cross_bias.size()[2] - 1);
                let cross = (&source, &cross_bias.narrow(2, row, 1));
                let output = self.decode_step(weights, &ids, &mut past, &seen, cross);
                let best = self.logits(&output.squeeze_dim(1)).argmax(-1, false);
                let mut chosen = vec![0; rows.len()];
                best.copy_data(&mut chosen, rows.len());
                for ((row, ended), id) in rows.iter_mut().zip(&mut ended).zip(chosen) {
                    row.push(if *ended { self.config.pad_token_id } else { id });
                    *ended |= id == self.config.eos_token_id;
                }
                if ended.iter().all(|e| *e) {
                    break;
                }
                ids = best.unsqueeze(1);
            }
            rows
        })
    }
}
