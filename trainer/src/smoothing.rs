//! Exponential moving averages, for numbers that jump from batch to batch.

/// Weight of the newest value.
const NEWEST: f64 = 0.05;

/// An exponential moving average that starts at its first value: early means are of what was seen so far (the bias
/// correction of Kingma and Ba 2015, section 3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Smoothed {
    mean: f64,
    /// Of all values so far; 1 in the end.
    weight: f64,
}

impl Smoothed {
    /// Takes in a value and gives the mean.
    pub fn push(&mut self, value: f64) -> f64 {
        self.weight += NEWEST * (1.0 - self.weight);
        self.mean += NEWEST / self.weight * (value - self.mean);
        self.mean
    }

    /// The mean so far; none before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_starts_at_the_first_value_and_follows_later_ones() {
        let mut smoothed = Smoothed::default();
        assert_eq!(smoothed.mean(), None);
        assert_eq!(smoothed.push(8.0), 8.0);
        // Weights 0.95 and 1 of two values.
        assert!((smoothed.push(2.0) - (0.95 * 8.0 + 2.0) / 1.95).abs() < 1e-12);
        for _ in 0..500 {
            smoothed.push(1.0);
        }
        assert!((smoothed.mean().unwrap() - 1.0).abs() < 1e-6);
    }
}
