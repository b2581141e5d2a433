//! How long a training will take, from its first updates.

use std::time::Duration;

use indicatif::HumanDuration;

/// The first updates of a process, which are slower than the others.
const WARM_UP: u64 = 3;
/// The fewest updates that an estimate is made from.
const UPDATES: u64 = 20;
/// The shortest time that an estimate is made from.
const WATCHED: Duration = Duration::from_secs(10);
/// A rest that is shorter is not worth a line.
const SHORT: Duration = Duration::from_secs(60);

/// Estimates the rest of a training from the time of its updates, and a second time after its first evaluation.
#[derive(Debug)]
pub(crate) struct Forecast {
    /// The number of updates of the whole training.
    steps: u64,
    /// The update after which time is measured, and when it was done.
    began: Option<(u64, Duration)>,
    first: Option<u64>,
    /// The step of the first evaluation.
    evaluation: Option<u64>,
    is_made: bool,
    is_refined: bool,
}

impl Forecast {
    pub(crate) fn new(steps: u64) -> Self {
        Self { steps, began: None, first: None, evaluation: None, is_made: false, is_refined: false }
    }

    /// The splits are evaluated after this update.
    pub(crate) fn evaluated(&mut self, step: u64) {
        self.evaluation.get_or_insert(step);
    }

    /// An update was done at this time. Returns a line if there is something new to say.
    pub(crate) fn stepped(&mut self, step: u64, now: Duration) -> Option<String> {
        let first = *self.first.get_or_insert(step);
        if step < first + WARM_UP {
            return None;
        }
        let (start, began) = *self.began.get_or_insert((step, now));
        let (updates, time) = (step - start, now.saturating_sub(began));
        if updates < UPDATES || time < WATCHED {
            return None;
        }
        let left = self.steps.saturating_sub(step);
        let rest = time.as_secs_f64() * (left as f64 / updates as f64);
        let rest = Duration::try_from_secs_f64(rest).unwrap_or(Duration::MAX);
        // The first update after an evaluation ends its time.
        let is_refinement = self.evaluation.is_some_and(|evaluation| evaluation < step) && !self.is_refined;
        if rest < SHORT || (self.is_made && !is_refinement) {
            return None;
        }
        self.is_made = true;
        self.is_refined |= is_refinement;
        let what = if self.evaluation.is_some() { "with evaluations" } else { "without evaluations" };
        Some(format!("about {} for the other {left} updates, {what}", HumanDuration(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a training of `steps` updates of a second each, with their updates. An evaluation takes 100 seconds.
    fn lines(steps: u64, evaluate_every: u64, first: u64) -> Vec<(u64, String)> {
        let (mut forecast, mut now) = (Forecast::new(steps), Duration::from_secs(5));
        let mut lines = Vec::new();
        for step in first..=steps {
            now += Duration::from_secs(1);
            lines.extend(forecast.stepped(step, now).map(|line| (step, line)));
            if step % evaluate_every == 0 {
                forecast.evaluated(step);
                now += Duration::from_secs(100);
            }
        }
        lines
    }

    #[test]
    fn the_rest_is_estimated_after_the_first_updates_and_after_the_first_evaluation() {
        let said = lines(7223, 100, 1);
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], (24, "about 2 hours for the other 7199 updates, without evaluations".to_owned()));
        // 97 updates and an evaluation in 197 seconds.
        assert_eq!(said[1], (101, "about 4 hours for the other 7122 updates, with evaluations".to_owned()));
        let resumed = lines(7223, 1000, 3601);
        assert_eq!(
            resumed[0],
            (3624, "about 60 minutes for the other 3599 updates, without evaluations".to_owned())
        );
    }

    #[test]
    fn a_rest_longer_than_any_duration_is_no_fault() {
        let mut forecast = Forecast::new(u64::MAX);
        let mut said = Vec::new();
        for step in 1..=24 {
            said.extend(forecast.stepped(step, Duration::from_secs(1000 * step)));
        }
        assert!(
            said.len() == 1 && said[0].starts_with("about ") && said[0].contains(" years for "),
            "{said:?}"
        );
    }

    #[test]
    fn short_trainings_say_nothing() {
        assert_eq!(lines(80, 1000, 1), []);
        assert_eq!(lines(2, 1, 1), []);
    }
}
