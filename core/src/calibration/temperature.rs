//! Temperature scaling (Guo et al. 2017): one number per task, fitted on tags that the model wrote.

/// The temperatures that are tried: powers of 2^(1/4) from 1/2 to 8.
const EXPONENTS: std::ops::RangeInclusive<i32> = -4..=12;
/// Exponents per doubling.
const PER_DOUBLING: f64 = 4.0;
/// The least probability of an event that happened. A tag with a probability of 1 in float32 can be wrong.
const LEAST: f64 = 1e-7;

/// The temperatures that are tried, ascending.
pub fn candidates() -> Vec<f64> {
    EXPONENTS.map(|exponent| (f64::from(exponent) / PER_DOUBLING).exp2()).collect()
}

/// The loss of a tag in nats: minus the logarithm of the probability that the score gives to what happened, that the tag is
/// correct or that it is not.
pub fn loss(log_probability: f64, is_correct: bool) -> f64 {
    let probability = log_probability.exp();
    -(if is_correct { probability } else { 1.0 - probability }).max(LEAST).ln()
}

/// The temperature with the least of `losses`, one for each of [`candidates`]: the minimum of the parabola through the best
/// candidate and its neighbors on a logarithmic scale, or the best candidate if it is the first or the last. 1 if no loss
/// is a number.
pub fn best(losses: &[f64]) -> f64 {
    let candidates = candidates();
    let known = losses.iter().enumerate().take(candidates.len()).filter(|(_, loss)| loss.is_finite());
    let Some((at, _)) = known.min_by(|a, b| a.1.total_cmp(b.1)) else { return 1.0 };
    let neighbors = at.checked_sub(1).and_then(|before| losses.get(before..at + 2));
    let shift = match neighbors {
        Some(&[before, here, after]) if before + after > 2.0 * here => {
            0.5 * (before - after) / (before + after - 2.0 * here)
        }
        _ => 0.0,
    };
    candidates[at] * (shift.clamp(-0.5, 0.5) / PER_DOUBLING).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_lies_between_the_candidates() {
        let losses = |best: f64| -> Vec<f64> {
            candidates().iter().map(|t| 3.0 + (t / best).log2().powi(2)).collect()
        };
        for expected in [0.6, 1.0, 1.7, 7.0] {
            assert!((best(&losses(expected)) - expected).abs() < 1e-9);
        }
        assert_eq!(best(&losses(100.0)), 8.0, "the last candidate");
        assert_eq!(best(&[]), 1.0);
        assert_eq!(best(&[f64::NAN; 17]), 1.0);
        assert_eq!(candidates().len(), 17);
    }

    #[test]
    fn a_certain_tag_that_is_wrong_has_a_finite_loss() {
        assert!((loss(0.5_f64.ln(), true) - 2.0_f64.ln()).abs() < 1e-12);
        assert!(loss(0.0, false).is_finite() && loss(f64::NEG_INFINITY, true).is_finite());
        assert_eq!(loss(0.0, true), 0.0);
    }
}
