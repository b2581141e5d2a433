//! Log-probabilities of generated targets, from one pass over each.

use hyperloader_core::weights::task::TaskWeights;
use tch::{Kind, Tensor, no_grad};

use super::network::T5;
use crate::data::batch::padded;
use crate::model::mode::Mode;
use crate::model::packing::Packing;
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
        sources: [&Tensor; 2],
        targets: &[&[u32]],
        temperatures: &[f64],
    ) -> Vec<Vec<Vec<f32>>> {
        let target_ids = padded(targets, self.config.pad_token_id).to_device(self.device());
        // A target may hold the padding token: its length says where it ends.
        let lengths: Vec<i64> = targets.iter().map(|ids| ids.len() as i64).collect();
        let lengths = Tensor::from_slice(&lengths).to_device(self.device()).unsqueeze(1);
        let columns = Tensor::arange(target_ids.size()[1], (Kind::Int64, self.device()));
        let packing = Packing::new(&columns.less_tensor(&lengths));
        let states = no_grad(|| {
            let source = self.read(weights, sources, Mode::Evaluation);
            self.target_states(weights, (&target_ids, &packing), &source, None, Mode::Evaluation)
        });
        let ids = packing.packed(&target_ids);
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
fn split(mut flat: &[f32], targets: &[&[u32]]) -> Vec<Vec<f32>> {
    let row = |ids: &&[u32]| {
        let (row, rest) = flat.split_at(ids.len());
        flat = rest;
        row.to_vec()
    };
    targets.iter().map(row).collect()
}
