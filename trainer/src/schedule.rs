//! The learning rate at each step (docs/reference/training.md#schedule).

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate decreases after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// It stays the same.
    Constant,
    /// Linearly, to 0 at the last update.
    Linear,
    /// Along half a cosine, to 0 at the last update.
    Cosine,
}

/// Linear warm-up from 0, then [`Decay`].
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The highest learning rate.
    pub base: f64,
    /// The number of updates of the warm-up.
    pub warmup: u64,
    /// The number of updates of the training.
    pub total: u64,
    /// The decay after the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// The learning rate after `done` updates. Update k, counted from 1, uses `lr(k - 1)`: with a warm-up the first
    /// update has rate 0, as in the authors' code.
    pub fn lr(&self, done: u64) -> f64 {
        let Self { base, warmup, total, decay } = *self;
        if done < warmup {
            return base * (done as f64 / warmup as f64);
        }
        let left = total.saturating_sub(done) as f64 / total.saturating_sub(warmup).max(1) as f64;
        match decay {
            Decay::Constant => base,
            Decay::Linear => base * left,
            Decay::Cosine => base * (0.5 * (1.0 - (PI * left).cos())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule { base: 2.0, warmup: 4, total: 12, decay }
    }

    #[test]
    fn warm_up_is_linear_from_zero_for_every_decay() {
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            let rates: Vec<f64> = (0..=4).map(|t| schedule(decay).lr(t)).collect();
            assert_eq!(rates, [0.0, 0.5, 1.0, 1.5, 2.0]);
        }
    }

    #[test]
    fn each_decay_reaches_its_end_and_stays_there() {
        for (decay, middle, end) in
            [(Decay::Constant, 2.0, 2.0), (Decay::Linear, 1.0, 0.0), (Decay::Cosine, 1.0, 0.0)]
        {
            let schedule = schedule(decay);
            assert!((schedule.lr(8) - middle).abs() < 1e-12);
            assert_eq!(schedule.lr(12), end);
            assert_eq!(schedule.lr(20), end);
        }
    }

    #[test]
    fn a_training_without_warm_up_starts_at_the_base_rate() {
        let schedule = Schedule { warmup: 0, ..schedule(Decay::Linear) };
        assert_eq!(schedule.lr(0), 2.0);
    }
}
