//! The answers of the reference model as they are stored in the file.

use hyperloader_core::format::proof::{Best, Ids, Row, TestPass, TestVectors};
use hyperloader_core::format::tagger::DECODER_INPUT_IDS;
use ndarray::{Array2, ArrayD, ArrayView1};

use super::answers::{Answers, Choices, Pass, input};

/// The inputs `passes` and their answers, where `limit` is the tolerated difference in a row of logits.
pub(super) fn test_vectors(
    task: &str,
    passes: &[Pass],
    answers: &Answers,
    choices: &Choices,
    sources: Vec<Vec<u32>>,
    limit: impl Fn(&ArrayView1<'_, f64>) -> f64,
) -> TestVectors {
    let pass = |(pass, logits): (&Pass, &Array2<f64>)| TestPass {
        inputs: pass.iter().map(|(name, array)| ((*name).to_owned(), ids(array))).collect(),
        rows: logits.outer_iter().map(|row| Row::new(row.iter().copied(), limit(&row))).collect(),
    };
    let targets = match (passes.get(choices.pass), answers.logits.get(choices.pass)) {
        (Some(pass), Some(logits)) => {
            choices.rows.iter().map(|rows| chosen(rows, pass, logits, &limit)).collect()
        }
        _ => Vec::new(),
    };
    let task = task.to_owned();
    TestVectors { task, passes: passes.iter().zip(&answers.logits).map(pass).collect(), sources, targets }
}

fn ids(array: &ArrayD<i64>) -> Ids {
    Ids { shape: array.shape().to_vec(), ids: array.iter().copied().collect() }
}

/// The best ids of `rows`, up to the first that rounding may change. The decoder of a file reads its own choices: they end where
/// the best id is not the one that it reads in `pass`.
fn chosen(
    rows: &[usize],
    pass: &Pass,
    logits: &Array2<f64>,
    limit: impl Fn(&ArrayView1<'_, f64>) -> f64,
) -> Vec<u32> {
    let read: Option<Vec<i64>> = input(pass, DECODER_INPUT_IDS).map(|ids| ids.iter().copied().collect());
    let mut chosen = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let values = logits.row(*row);
        let best = Best::of(values.iter().copied());
        if best.margin <= 2.0 * limit(&values) {
            break;
        }
        chosen.push(u32::try_from(best.id).unwrap_or_default());
        let goes_on = |read: &Vec<i64>| read.get(row + 1).is_some_and(|next| *next == best.id as i64);
        if at + 1 < rows.len() && !read.as_ref().is_none_or(goes_on) {
            break;
        }
    }
    chosen
}
