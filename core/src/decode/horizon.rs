//! How many ids one pass of the decoder decides. A pass has a cost apart from its tokens.

/// The best number of ids of each target that a pass decides, where `left` ids are drafted for each target and an id is wrong
/// at this `rate`.
///
/// With more ids, the `cost` of the pass apart from its tokens (in tokens) is shared by more; but the work on ids after a
/// mistake, and after a target's end, is lost. At the best number, a token makes the most ids certain.
pub fn horizon(left: &[usize], rate: f64, cost: f64) -> usize {
    // With one target, a pass over more ids hardly takes longer.
    if left.len() == 1 {
        return usize::MAX;
    }
    let longest = left.iter().copied().max().unwrap_or(0);
    // Expected number of ids up to the first mistake, which is corrected, by the number of ids decided.
    let certain: Vec<f64> = (0..=longest).map(|ids| (1.0 - (1.0 - rate).powf(ids as f64)) / rate).collect();
    let gain = |horizon: usize| {
        let ids: f64 = left.iter().map(|left| certain[horizon.min(*left)]).sum();
        ids / ((left.len() * horizon) as f64 + cost)
    };
    (1..=longest).max_by(|a, b| gain(*a).total_cmp(&gain(*b))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_falls_with_the_rate_of_mistakes_and_rises_with_the_cost_of_a_pass() {
        assert_eq!(horizon(&[9], 0.5, 20.0), usize::MAX, "one target");
        assert_eq!(horizon(&[9; 32], 1e-6, 20.0), 9, "no mistakes");
        assert_eq!(horizon(&[100; 32], 0.035, 20.0), 6);
        assert_eq!(horizon(&[100; 32], 0.035, 500.0), 25, "an expensive pass");
        let ends = [4, 4, 4, 4, 4, 4, 4, 100];
        assert_eq!(
            (horizon(&[100; 8], 0.035, 20.0), horizon(&ends, 0.035, 20.0)),
            (11, 4),
            "most targets end earlier"
        );
        assert_eq!(horizon(&[1; 32], 0.035, 20.0), 1, "step by step");
        assert_eq!(horizon(&[0, 0], 0.035, 20.0), 1);
    }
}
