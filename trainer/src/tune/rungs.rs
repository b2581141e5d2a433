//! The rungs of a search.

/// A rung: how far its candidates are trained, and how many of them go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// The number of updates of a candidate, counted from the start of its run.
    pub steps: u64,
    /// The number of candidates that go on; of the last rung, 1.
    pub keep: usize,
}

/// The rungs for this number of candidates, at least one rung.
///
/// Each keeps the best `1 / eta` of its candidates, rounded up, and ends after `eta` times the updates of the one before it;
/// the last ends after `steps`. Rungs end at evaluations, so their updates are rounded up to a multiple of `evaluate_every`.
/// Rungs that end at the same update are one rung.
pub(super) fn rungs(candidates: usize, eta: usize, steps: u64, evaluate_every: u64) -> Vec<Rung> {
    let mut kept = Vec::new();
    let mut left = candidates;
    while left > 1 {
        left = left.div_ceil(eta);
        kept.push(left);
    }
    // The candidate that is left is trained to the last update.
    kept.push(1);
    let mut rungs: Vec<Rung> = Vec::new();
    for (cut, &keep) in kept.iter().enumerate() {
        let power = (kept.len() - 1 - cut) as u32;
        let share = steps.div_ceil((eta as u64).saturating_pow(power));
        let at = share.div_ceil(evaluate_every).saturating_mul(evaluate_every).min(steps);
        match rungs.last_mut() {
            Some(last) if last.steps == at => last.keep = keep,
            _ => rungs.push(Rung { steps: at, keep }),
        }
    }
    rungs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(candidates: usize, eta: usize, steps: u64, evaluate_every: u64) -> Vec<(u64, usize)> {
        let rungs = rungs(candidates, eta, steps, evaluate_every);
        rungs.iter().map(|rung| (rung.steps, rung.keep)).collect()
    }

    #[test]
    fn each_rung_keeps_a_share_and_the_last_ends_the_training() {
        assert_eq!(plain(8, 2, 800, 1), [(100, 4), (200, 2), (400, 1), (800, 1)]);
        assert_eq!(plain(5, 2, 800, 1), [(100, 3), (200, 2), (400, 1), (800, 1)]);
        assert_eq!(plain(9, 3, 900, 1), [(100, 3), (300, 1), (900, 1)]);
        assert_eq!(plain(2, 2, 7, 1), [(4, 1), (7, 1)]);
        assert_eq!(plain(2, 100, 7, 1), [(1, 1), (7, 1)]);
    }

    #[test]
    fn rungs_end_at_evaluations_and_equal_ones_are_one() {
        assert_eq!(plain(5, 2, 1000, 100), [(200, 3), (300, 2), (500, 1), (1000, 1)]);
        assert_eq!(plain(5, 2, 1000, 300), [(300, 2), (600, 1), (1000, 1)]);
        // Every candidate is trained to the end, because nothing is measured before.
        assert_eq!(plain(5, 2, 1000, 1000), [(1000, 1)]);
        assert_eq!(plain(5, 2, 10, 1000), [(10, 1)]);
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let huge = rungs(1 << 20, 2, u64::MAX, 1000);
        assert_eq!((huge.len(), huge.last().unwrap().steps), (21, u64::MAX));
    }
}
