//! Exact binomial bounds (Clopper and Pearson 1934).

/// Bisection steps of [`upper_bound`]: 2^-50 is less than any rate that counts of sentences can tell apart.
const STEPS: usize = 50;

/// Natural logarithm of the probability of at most `events` events in `trials` independent trials, each with probability
/// `rate`, from 0 to 1.
pub fn ln_cdf(events: u64, trials: u64, rate: f64) -> f64 {
    if events >= trials || rate <= 0.0 {
        return 0.0;
    }
    if rate >= 1.0 {
        return f64::NEG_INFINITY;
    }
    let (odds, trials) = ((rate / (1.0 - rate)).ln(), trials as f64);
    let mut term = trials * (1.0 - rate).ln();
    let mut sum = term;
    for event in 0..events {
        let event = event as f64;
        term += ((trials - event) / (event + 1.0)).ln() + odds;
        let (high, low) = (sum.max(term), sum.min(term));
        sum = high + (low - high).exp().ln_1p();
    }
    sum.min(0.0)
}

/// The upper bound of the rate of events, with confidence `1 - delta`: the highest rate at which at most `events` events in
/// `trials` trials have at least probability `delta`.
pub fn upper_bound(events: u64, trials: u64, delta: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        match ln_cdf(events, trials, middle) >= delta.ln() {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_that_of_its_definition() {
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        for (events, trials, rate) in [(0, 7, 0.3), (2, 9, 0.5), (8, 9, 0.05), (3, 40, 0.1)] {
            let term = |k: u64| {
                choose(trials, k) * f64::powi(rate, k as i32) * f64::powi(1.0 - rate, (trials - k) as i32)
            };
            let expected: f64 = (0..=events).map(term).sum();
            assert!((ln_cdf(events, trials, rate).exp() - expected).abs() < 1e-12);
        }
        assert_eq!(ln_cdf(5, 5, 0.3), 0.0);
        assert_eq!(ln_cdf(0, 0, 0.3), 0.0);
        assert!(ln_cdf(3000, 90_000, 0.05).is_finite());
    }

    #[test]
    fn bounds_are_exact() {
        // Computed from sums of `math.comb` terms in Python.
        let known = [(0, 45, 0.049_881_49), (2, 100, 0.052_345_29), (10, 10, 1.0), (0, 0, 1.0)];
        for (events, trials, bound) in known {
            let found = upper_bound(events, trials, 0.1);
            assert!((found - bound).abs() < 1e-7, "{events} of {trials}: {found}");
        }
    }
}
