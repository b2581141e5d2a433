//! Log-probabilities of generated targets, from one pass over each.

use hyperloader_core::weights::task::TaskWeights;
use tch::{Tensor, no_grad};

use super::network::T5;
use crate::data::batch::padded;
use crate::model::mode::Mode;
use crate::model::scored::log_probabilities;

/// The number of target ids whose logits are in memory at the same time.
const IDS: i64 = 256;

impl T5 {
    /// The log-probability of each id of `targets` after the ids before it, with the logits divided by each of
    /// `temperatures`: `[temperature][target][id]`, in nats. The sources are `input_ids` and `attention_mask`, both
    /// `[targets, source_len]`.
    pub fn log_probabilities(
        &self,
        weights: &TaskWeights<Tensor>,
        [input_ids, attention_mask]: [&Tensor; 2],
        targets: &[Vec<u32>],
        temperatures: &[f64],
    ) -> Vec<Vec<Vec<f32>>> {
        let target_ids = padded(targets, self.config.pad_token_id).to_device(self.device());
        let length = target_ids.size()[1];
        let rows = (0_i64..).zip(targets);
        let places: Vec<i64> =
            rows.flat_map(|(row, ids)| (0..ids.len() as i64).map(move |at| row * length + at)).collect();
        let places = Tensor::from_slice(&places).to_device(self.device());
        let states = no_grad(|| {
            let source = self.encode(weights, input_ids, attention_mask, Mode::Evaluation);
            let inputs = self.shift_right(&target_ids);
            let decoded = self.decode(weights, &inputs, &source, attention_mask, Mode::Evaluation);
            decoded.reshape([-1, self.config.d_model as i64]).index_select(0, &places)
        });
        let ids = target_ids.reshape(-1).index_select(0, &places);
        let flat = no_grad(|| self.of_ids(&states, &ids, temperatures));
        flat.into_iter().map(|flat| split(&flat, targets)).collect()
    }

    /// The log-probability of each of `ids` `[n]` after the decoder's output `states` `[n, d_model]`, at each temperature.
    fn of_ids(&self, states: &Tensor, ids: &Tensor, temperatures: &[f64]) -> Vec<Vec<f32>> {
        let count = ids.size()[0];
        let mut all = vec![Vec::with_capacity(count as usize); temperatures.len()];
        for start in (0..count).step_by(IDS as usize) {
            let length = IDS.min(count - start);
            let logits = self.logits(&states.narrow(0, start, length));
            let of_chosen = log_probabilities(&logits, &ids.narrow(0, start, length), temperatures);
            all.iter_mut().zip(of_chosen).for_each(|(values, of_chosen)| values.extend(of_chosen));
        }
        all
    }
}

/// The values of each target.
fn split(mut flat: &[f32], targets: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let row = |ids: &Vec<u32>| {
        let (row, rest) = flat.split_at(ids.len());
        flat = rest;
        row.to_vec()
    };
    targets.iter().map(row).collect()
}
