//! Results that point to a training that went wrong, in words.

use hyperloader_core::text::metrics::Counts;

use crate::evaluate::Evaluation;

/// A validation loss above this multiple of the one before training is more than chance: that one is of some sentences only.
const MARGIN: f64 = 1.05;
/// The same for a model that was good before training, as in a warm start: the share of the way to a model that guesses.
/// A multiple of a small loss is soon exceeded, also by a training that goes well.
const SHARE: f64 = 0.05;

/// A tenth of a learning rate, to be tried next.
pub(super) fn lower_rate(rate: f64) -> String {
    format!("{:.0e}", rate / 10.0)
}

/// The validation loss of a task before the first update.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossBefore {
    /// In nats per target token.
    pub(super) loss: f64,
    /// The number of classes that a target is one of.
    pub(super) classes: usize,
}

impl LossBefore {
    /// The highest loss that is not taken for divergence.
    fn highest(self) -> f64 {
        // The loss of a model that gives all classes the same probability, with or without label smoothing.
        let guess = (self.classes.max(1) as f64).ln();
        (MARGIN * self.loss).max(self.loss + SHARE * (guess - self.loss))
    }

    /// A warning if the validation loss at `step` is far above the one before training, or not a number.
    pub(super) fn diverging(self, task: &str, step: u64, loss: f64, rate: f64) -> Option<String> {
        let start = self.loss;
        let is_fine = loss <= self.highest();
        (!is_fine && start.is_finite()).then(|| {
            format!(
                "task `{task}`: the validation loss at step {step} is {loss:.4}, above the {start:.4} before training: the run diverges\n\
                 hint: a lower `training.learning_rate` may help, such as {} (it is {rate:e})",
                lower_rate(rate)
            )
        })
    }
}

/// A warning if a model that should find spans finds none, or none that is right.
pub(super) fn untrained(task: &str, evaluation: &Evaluation) -> Option<String> {
    let mut counts = Counts::default();
    evaluation.details.iter().flat_map(|details| &details.counts).for_each(|sentence| counts += *sentence);
    let what = match counts {
        Counts { gold: 0, .. } => return None,
        Counts { predicted: 0, .. } => "predicts no span".to_owned(),
        Counts { correct: 0, predicted, .. } => format!("predicts {predicted} spans, of which none is right"),
        _ => return None,
    };
    Some(format!(
        "task `{task}`: on the validation sentences the best checkpoint {what} (F1 0): the model looks untrained\n\
         hint: more `training.steps`, another `training.learning_rate`, or a start from another run with `--warm-start` may help"
    ))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use hyperloader_core::evaluate::{Details, Sentence};
    use hyperloader_core::text::metrics::evaluate;
    use hyperloader_core::text::spans::SpanMode;

    use super::*;

    /// The steps at which a series of validation losses, one for each step, is taken for divergence.
    fn warned(start: f64, classes: usize, losses: &[f64]) -> Vec<usize> {
        let before = LossBefore { loss: start, classes };
        let steps = losses.iter().enumerate();
        let warned = steps.filter(|(step, loss)| before.diverging("t", *step as u64, **loss, 1e-3).is_some());
        warned.map(|(step, _)| step).collect()
    }

    #[test]
    fn a_loss_above_the_one_before_training_is_named_with_a_lower_rate() {
        let before = LossBefore { loss: 7.0, classes: 32_128 };
        assert_eq!(
            before.diverging("t", 10, 9.0, 1e-3).unwrap(),
            "task `t`: the validation loss at step 10 is 9.0000, above the 7.0000 before training: the run diverges\n\
             hint: a lower `training.learning_rate` may help, such as 1e-4 (it is 1e-3)"
        );
        assert!(before.diverging("t", 10, f64::NAN, 3e-4).unwrap().contains("such as 3e-5 (it is 3e-4)"));
        // The loss before training can be that of a model that is worse than guessing.
        assert_eq!(warned(7.0, 32_128, &[7.3, 2.0, 0.1, 9.0, f64::INFINITY]), [3, 4]);
        assert_eq!(warned(30.0, 32_128, &[31.0, 29.0, 0.1, 40.0]), [3]);
        assert_eq!(warned(f64::NAN, 32_128, &[31.0, f64::NAN]), [0_usize; 0]);
    }

    #[test]
    fn a_warm_start_diverges_when_its_loss_nears_that_of_guessing() {
        // The first updates of a warm start raise a loss that is near its lowest value.
        assert_eq!(warned(0.08, 32_128, &[0.14, 0.11, 0.09, 0.07]), [0_usize; 0]);
        assert_eq!(warned(0.001, 32_128, &[0.002, 0.1, 0.05]), [0_usize; 0]);
        assert_eq!(warned(0.08, 32_128, &[0.2, 0.9, 3.5, 9.0]), [1, 2, 3]);
        assert_eq!(warned(0.05, 9, &[0.07, 0.12, 0.06]), [0_usize; 0]);
        assert_eq!(warned(0.05, 9, &[0.07, 0.4, 2.2]), [1, 2]);
        // With label smoothing, the lowest loss is far above 0.
        assert_eq!(warned(1.5, 32_128, &[1.57, 1.52, 1.4]), [0_usize; 0]);
        assert_eq!(warned(1.5, 32_128, &[1.7, 2.5]), [1]);
    }

    fn evaluation(gold: &[&str], predicted: &[&str]) -> Evaluation {
        let [gold, predicted] =
            [gold, predicted].map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        let rows = [Sentence { words: &gold, gold: &gold, predicted: &predicted }];
        let report = evaluate(from_ref(&gold), from_ref(&predicted), SpanMode::Default).unwrap();
        Evaluation {
            sentences: 1,
            loss: 1.0,
            f1: report.micro.f1,
            precision: report.micro.precision,
            recall: report.micro.recall,
            exact: None,
            details: Some(Details::new(&report, &rows)),
        }
    }

    #[test]
    fn a_model_that_finds_nothing_looks_untrained() {
        let of = |gold: &[&str], predicted: &[&str]| untrained("t", &evaluation(gold, predicted));
        assert_eq!(of(&["B-a", "O"], &["B-a", "B-a"]), None);
        assert_eq!(of(&["O", "O"], &["O", "O"]), None);
        assert!(of(&["B-a", "O"], &["O", "O"]).unwrap().contains("predicts no span (F1 0)"));
        let wrong = of(&["B-a", "O"], &["O", "B-a"]).unwrap();
        assert!(wrong.contains("predicts 1 spans, of which none is right"), "{wrong}");
    }
}
