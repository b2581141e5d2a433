//! How much work one run of the encoder or of the decoder takes on. Each run has a cost apart from its tokens.

use std::ops::Range;

/// The best number of ids of each target that a pass decides, where `left` ids are drafted for each target and an id is wrong
/// at this `rate`.
///
/// With more ids, the `cost` of the pass apart from its tokens (in tokens) is shared by more; but the work on ids after a
/// mistake, and after a target's end, is lost. At the best number, a token makes the most ids certain.
pub(super) fn horizon(left: &[usize], rate: f64, cost: f64) -> usize {
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

/// Splits sources of these lengths into parts so that the sum of tokens, padding included, and of `cost` per part is least.
pub(super) fn parts_of_like_length(lengths: &[usize], cost: f64) -> Vec<Range<usize>> {
    // For the sources up to each index: their least cost, and the start of their last part.
    let mut least = vec![(0.0, 0)];
    for end in 1..=lengths.len() {
        let mut longest = 0;
        let part = |start: usize| {
            longest = longest.max(lengths[start]);
            let before: f64 = least[start].0;
            (before + ((end - start) * longest) as f64 + cost, start)
        };
        let parts = (0..end).rev().map(part);
        least.extend(parts.min_by(|a, b| a.0.total_cmp(&b.0)));
    }
    let mut parts = Vec::new();
    let mut end = lengths.len();
    while end > 0 {
        let start = least[end].1;
        parts.push(start..end);
        end = start;
    }
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn sources_are_split_where_that_saves_tokens() {
        assert_eq!(parts_of_like_length(&[35, 34, 33, 10, 9, 8], 20.0), [0..3, 3..6]);
        assert_eq!(parts_of_like_length(&[35, 34, 33, 10, 9, 8], 200.0).len(), 1);
        assert_eq!(parts_of_like_length(&[9, 9, 9, 9], 0.5).len(), 1);
        assert!(parts_of_like_length(&[], 20.0).is_empty());
    }

    proptest! {
        #[test]
        fn parts_hold_all_sources_in_order_and_never_cost_more_than_one_part(
            lengths in prop::collection::vec(1_usize..300, 1..40),
            cost in 0.0..500.0,
        ) {
            let parts = parts_of_like_length(&lengths, cost);
            prop_assert_eq!(parts.iter().cloned().flatten().collect::<Vec<_>>(), (0..lengths.len()).collect::<Vec<_>>());
            let tokens = |part: &[usize]| (part.len() * part.iter().max().unwrap_or(&0)) as f64 + cost;
            let total: f64 = parts.into_iter().map(|part| tokens(&lengths[part])).sum();
            prop_assert!(total <= tokens(&lengths) + 1e-6);
        }
    }
}
