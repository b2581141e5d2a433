//! How many sources one run of the encoder takes on. Each run has a cost apart from its tokens.

use std::ops::Range;

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
