//! Results that point to a training that went wrong, in words.

use hyperloader_core::text::metrics::Counts;

use crate::evaluate::Evaluation;

/// Validation sentences whose loss is computed before the first update.
pub(super) const START_SENTENCES: usize = 256;
/// A validation loss above this multiple of the one before training is more than chance: that one is of some sentences only.
const MARGIN: f64 = 1.05;

/// A tenth of a learning rate, to be tried next.
pub(super) fn lower_rate(rate: f64) -> String {
    format!("{:.0e}", rate / 10.0)
}

/// A warning if the validation loss of a task is above the one before training, or not a number.
pub(super) fn diverging(task: &str, step: u64, loss: f64, start: f64, rate: f64) -> Option<String> {
    let falls = loss <= MARGIN * start;
    (!falls && start.is_finite()).then(|| {
        format!(
            "task `{task}`: the validation loss at step {step} is {loss:.4}, above the {start:.4} before training: the run diverges\n\
             hint: a lower `training.learning_rate` may help, such as {} (it is {rate:e})",
            lower_rate(rate)
        )
    })
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

    #[test]
    fn a_loss_above_the_one_before_training_is_named_with_a_lower_rate() {
        assert_eq!(diverging("t", 10, 7.3, 7.0, 1e-3), None);
        assert_eq!(diverging("t", 10, 2.0, 7.0, 1e-3), None);
        let warning = diverging("t", 10, 9.0, 7.0, 1e-3).unwrap();
        assert_eq!(
            warning,
            "task `t`: the validation loss at step 10 is 9.0000, above the 7.0000 before training: the run diverges\n\
             hint: a lower `training.learning_rate` may help, such as 1e-4 (it is 1e-3)"
        );
        assert!(diverging("t", 10, f64::NAN, 7.0, 3e-4).unwrap().contains("such as 3e-5 (it is 3e-4)"));
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
