//! Runs a written file in the available backends and compares it with the reference model.

use std::path::Path;

use hyperloader_core::format::proof::TestVectors;
use hyperloader_runtime::{Backend, BackendError, BackendKind, BackendOptions, Value};
use ndarray::{Array2, ArrayD};

use super::answers::{Answers, Pass, ReferenceRun};
use super::ladder::{Comparison, Demand, Ladder, NotRun};
use super::tolerance::Tolerance;
use super::vectors::test_vectors;
use crate::precision::Precision;

/// How an export is verified.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// Tolerated difference of two logits.
    pub tolerance: Tolerance,
    /// Device, threads and library of the backends. `kind` is ignored: every backend that can be loaded is run.
    pub backends: BackendOptions,
}

/// Runs the file at `path` in every backend that can be loaded, one at a time, and compares neighbors: the forms of the
/// reference model, then the backends. Also returns the last answers of the reference model, for programs that check the file
/// later. `stage` receives a description of each step.
///
/// # Errors
/// Returns an error if a backend was loaded but cannot run the file.
pub(crate) fn compare(
    task: &str,
    reference: ReferenceRun,
    path: &Path,
    verification: &Verification,
    stage: &dyn Fn(&str),
) -> Result<(Ladder, TestVectors), BackendError> {
    let sources = reference.sources();
    let ReferenceRun { passes, un_folded, folded, lower, choices } = reference;
    let comparison = Comparison::new(verification.tolerance, &un_folded, &choices);
    let (mut rungs, mut not_run) = (vec![comparison.rung(&un_folded, &folded, Demand::Equal)], Vec::new());
    let (mut last, mut demand) = (folded, Demand::Equal);
    let precision = lower.as_ref().map_or(Precision::F32, |(precision, _)| *precision);
    if let Some((_, lower)) = lower {
        let rung = comparison.rung(&last, &lower, Demand::Finite);
        // Where two implementations of int8 differ in the last digit, they may round an element of a token to different
        // integers. Their results may then differ by as much as rounding changes them at all, in either direction.
        // The other precisions round matrices only, which are the same for all.
        demand = Demand::Within(if precision.is_expanded() { 0.0 } else { 2.0 * rung.difference });
        rungs.push(rung);
        last = lower;
    }
    let vectors = test_vectors(task, &passes, &last, &choices, sources, |row| {
        verification.tolerance.limit(row) + demand.more()
    });
    let mut file_was_run = false;
    for kind in [BackendKind::Ort, BackendKind::Tract] {
        if let Some(reason) = precision.unsupported_by(kind) {
            not_run.push(NotRun { backend: kind.to_string(), reason: reason.to_owned() });
            continue;
        }
        match Backend::load(&BackendOptions { kind, ..verification.backends.clone() }) {
            Ok(backend) => {
                stage(&format!("running the file in {}", backend.description()));
                let answers = answers(&backend, path, &passes)?;
                rungs.push(comparison.rung(&last, &answers, demand));
                file_was_run = true;
                // The logits are large: only those of the last implementation are kept.
                last = answers;
            }
            Err(error) => not_run.push(NotRun { backend: kind.to_string(), reason: error.to_string() }),
        }
    }
    Ok((comparison.ladder(rungs, not_run, file_was_run), vectors))
}

/// The answers of a file in a backend.
fn answers(backend: &Backend, path: &Path, passes: &[Pass]) -> Result<Answers, BackendError> {
    let values = passes.iter().map(values).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<Vec<(&str, &Value)>> =
        values.iter().map(|pass| pass.iter().map(|(name, value)| (*name, value)).collect()).collect();
    let outputs = backend.run_file(path, &inputs)?;
    let logits = outputs.iter().map(|outputs| logits(outputs)).collect::<Result<_, _>>()?;
    Ok(Answers { name: backend.description(), logits })
}

/// The inputs of a run as values of a backend.
fn values(pass: &Pass) -> Result<Vec<(&'static str, Value)>, BackendError> {
    let value = |ids: &ArrayD<i64>| Value::from_i64s(ids.shape(), ids.iter().copied().collect());
    pass.iter().map(|(name, ids)| Ok((*name, value(ids)?))).collect()
}

/// The first output of a run, the logits, as `[rows, width]`. If it is missing or has a wrong shape, the matrix is empty, which
/// the comparison refuses.
fn logits(outputs: &[Value]) -> Result<Array2<f64>, BackendError> {
    let Some(logits) = outputs.first() else { return Ok(Array2::default((0, 0))) };
    let width = logits.shape().last().copied().unwrap_or(0);
    let rows = logits.shape().iter().rev().skip(1).product();
    let elements: Vec<f64> = logits.f32s()?.iter().map(|x| f64::from(*x)).collect();
    Ok(Array2::from_shape_vec((rows, width), elements).unwrap_or_default())
}
