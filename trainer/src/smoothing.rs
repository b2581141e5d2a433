//! Exponential moving averages, for values that vary from batch to batch.

/// The weight of the newest value.
const NEWEST: f64 = 0.05;

/// An exponential moving average with the bias correction of Kingma and Ba 2015, section 3: the first mean is the first
/// value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Smoothed {
    mean: f64,
    /// The total weight of all values so far; it approaches 1.
    weight: f64,
}

impl Smoothed {
    /// Adds a value and returns the new mean.
    pub fn push(&mut self, value: f64) -> f64 {
        self.weight += NEWEST * (1.0 - self.weight);
        self.mean += NEWEST / self.weight * (value - self.mean);
        self.mean
    }

    /// The mean so far; `None` before the first value.
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
