//! Trainings that stop when evaluations no longer improve.

use crate::config::TrainingConfig;

/// Whether `training.patience` evaluations after the best one, at step `best`, were not better; `done` is the number of updates
/// so far.
pub(super) fn is_over(settings: &TrainingConfig, done: u64, best: u64) -> bool {
    let limit = settings.patience.map(|patience| patience.saturating_mul(settings.evaluate_every));
    limit.is_some_and(|limit| done.saturating_sub(best) >= limit)
}

/// The note that a training stops at step `done`.
pub(super) fn note(done: u64, best: u64) -> String {
    format!(
        "validation loss has not improved since step {best}: training stops at step {done} (`training.patience`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_evaluations_and_any_number_is_accepted() {
        let settings =
            |patience| TrainingConfig { patience, evaluate_every: 10, ..TrainingConfig::default() };
        assert!(!is_over(&settings(Some(3)), 49, 20));
        assert!(is_over(&settings(Some(3)), 50, 20));
        assert!(!is_over(&settings(None), 50, 20));
        assert!(!is_over(&settings(Some(u64::MAX)), u64::MAX - 1, 0));
    }
}
