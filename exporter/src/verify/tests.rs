//! The rules of the ladder, on logits made by hand.

use ndarray::{Array2, array};

use super::answers::{Answers, Choices};
use super::ladder::{Comparison, Demand};
use super::tolerance::Tolerance;

fn answers(name: &str, logits: Array2<f64>) -> Answers {
    Answers { name: name.to_owned(), logits: vec![logits] }
}

/// Two sentences: rows 0 and 1, row 2.
fn comparison(un_folded: &Answers) -> Comparison {
    let choices = Choices { what: "greedy ids", pass: 0, rows: vec![vec![0, 1], vec![2]] };
    Comparison::new(Tolerance::default(), un_folded, &choices)
}

/// Magnitudes 50, 1 and 1; margins 20, 1.5 and 5e-5.
fn un_folded() -> Answers {
    answers("un-folded", array![[50.0, 30.0], [-0.5, 1.0], [1.0, 1.0 - 5e-5]])
}

#[test]
fn the_limit_of_a_row_grows_with_its_largest_logit() {
    let from = un_folded();
    let comparison = comparison(&from);
    let with = |row: usize, by: f64| {
        let mut to = from.clone();
        to.logits[0][[row, 1]] += by;
        comparison.rung(&from, &to, Demand::Equal)
    };
    // 1e-4 + 1e-5 x 50, and 1e-4 + 1e-5 x 1.
    assert!(with(0, 5.9e-4).is_close() && !with(0, 6.1e-4).is_close());
    assert!(with(1, 1.09e-4).is_close() && !with(1, 1.11e-4).is_close());
    assert!((with(0, 3e-4).share - 0.5).abs() < 1e-9);
}

#[test]
fn best_ids_must_be_equal_where_the_margin_exceeds_the_limit() {
    let from = un_folded();
    let comparison = comparison(&from);
    let mut tie = from.clone();
    tie.logits[0].row_mut(2).assign(&array![1.0, 1.0 + 1e-5]);
    let rung = comparison.rung(&from, &tie, Demand::Equal);
    assert_eq!((rung.equal, rung.near_ties), (1, 1));
    assert!(comparison.ladder(vec![rung], vec![], true).holds());

    let mut other = from.clone();
    other.logits[0].row_mut(1).assign(&array![1.0, -0.5]);
    let rung = comparison.rung(&from, &other, Demand::Within(10.0));
    assert_eq!((rung.equal, rung.near_ties), (1, 0));
    assert!(comparison.ladder(vec![rung.clone()], vec![], true).holds(), "ids count for equal models only");
    let rung = super::Rung { demand: Demand::Equal, ..rung };
    assert!(rung.is_close() && !comparison.ladder(vec![rung], vec![], true).holds());
}

#[test]
fn logits_that_are_not_numbers_or_have_another_shape_never_hold() {
    let from = un_folded();
    let comparison = comparison(&from);
    let mut nan = from.clone();
    nan.logits[0][[1, 0]] = f64::NAN;
    for to in [nan, answers("empty", Array2::zeros((0, 0)))] {
        for demand in [Demand::Equal, Demand::Within(1.0), Demand::Finite] {
            let rung = comparison.rung(&from, &to, demand);
            assert!(!comparison.ladder(vec![rung], vec![], true).holds(), "{to:?} {demand:?}");
        }
    }
}

#[test]
fn the_ladder_prints_differences_scale_and_the_smallest_margin() {
    let from = un_folded();
    let comparison = comparison(&from);
    let mut to = from.clone();
    to.name = "tract".to_owned();
    to.logits[0][[0, 0]] += 3e-4;
    let rungs = vec![comparison.rung(&from, &to, Demand::Equal)];
    let not_run = vec![super::NotRun { backend: "ort".to_owned(), reason: "no library".to_owned() }];
    assert_eq!(
        comparison.ladder(rungs, not_run, true).to_string(),
        "un-folded vs tract  logits differ by 3.0e-4 (50 % of the limit), greedy ids equal in 2 of 2: ok\n\
         ort was not run: no library\n\
         tolerance 1e-4 + 1e-5 x the largest logit of the row; largest logit 5.0e1, smallest margin 5.0e-5"
    );
}
