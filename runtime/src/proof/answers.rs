//! What a backend answers to the stored inputs: the logits of the whole graph, and the ids that the tagger chooses.

use std::path::Path;

use hyperloader_core::causes::with_causes;
use hyperloader_core::format::proof::{Ids, Row, TestPass, TestVectors};

use super::check::Check;
use crate::backend::{Backend, BackendError, BackendOptions, Graph, Value};
use crate::error::OpenError;
use crate::model_file::ModelFile;
use crate::options::TaggerOptions;
use crate::tagger::Tagger;

/// Runs the file `path` in `backend` on the stored inputs of each task, as one graph and, opened as `files`, as taggers.
///
/// # Errors
/// If the backend does not accept the graph, or fails.
pub(super) fn check(
    path: &Path,
    files: &[ModelFile],
    backend: &Backend,
    options: &BackendOptions,
    vectors: &[TestVectors],
) -> Result<Check, BackendError> {
    let mut faults = Vec::new();
    let mut share = 0.0_f64;
    let mut graph = backend.open_file(path)?;
    for (number, pass) in vectors.iter().flat_map(|vectors| &vectors.passes).enumerate() {
        let found = rows(graph.as_mut(), pass)?;
        if found.len() != pass.rows.len() {
            faults.push(format!(
                "pass {number} has {} rows of logits, expected {}",
                found.len(),
                pass.rows.len()
            ));
            continue;
        }
        for (at, (expected, found)) in pass.rows.iter().zip(&found).enumerate() {
            let of_limit = expected.share(found);
            if of_limit > 1.0 {
                faults.push(difference(number, at, expected, found));
            }
            share = share.max(of_limit);
        }
    }
    drop(graph);
    for vectors in vectors {
        match files.iter().find(|file| file.metadata().task == vectors.task) {
            Some(file) => faults.extend(of_tagger(file, backend, options, vectors)?),
            None => faults.push(format!("the file has no task `{}`", vectors.task)),
        }
    }
    let right = format!(
        "logits differ by at most {:.0} % of the limit, ids of {} sentences equal",
        100.0 * share,
        vectors.iter().map(|vectors| vectors.targets.len()).sum::<usize>()
    );
    Ok(Check::of(&backend.description(), &faults, right))
}

fn difference(pass: usize, at: usize, expected: &Row, found: &Row) -> String {
    format!(
        "pass {pass}, row {at}: best id {} with logit {:.4}, mean {:.4}; expected {} with {:.4}, mean {:.4}, \
         each within {:.1e}",
        found.best.id, found.max, found.mean, expected.best.id, expected.max, expected.mean, expected.limit
    )
}

/// The rows of logits that a graph gives for a pass.
fn rows(graph: &mut dyn Graph, pass: &TestPass) -> Result<Vec<Row>, BackendError> {
    let value =
        |(name, ids): (&String, &Ids)| Ok((name.clone(), Value::from_i64s(&ids.shape, ids.ids.clone())?));
    let inputs = pass.inputs.iter().map(value).collect::<Result<Vec<_>, BackendError>>()?;
    let named: Vec<(&str, &Value)> = inputs.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let outputs = graph.run(&named)?;
    // The first output is `logits`.
    let Some(logits) = outputs.first() else { return Ok(Vec::new()) };
    let width = logits.shape().last().copied().unwrap_or(0).max(1);
    let row = |row: &[f32]| Row::new(row.iter().map(|logit| f64::from(*logit)), 0.0);
    Ok(logits.f32s()?.chunks_exact(width).map(row).collect())
}

/// Sentences for which the tagger, which splits the graph and drafts its targets, chooses other ids.
fn of_tagger(
    file: &ModelFile,
    backend: &Backend,
    options: &BackendOptions,
    vectors: &TestVectors,
) -> Result<Vec<String>, BackendError> {
    let backend = BackendOptions { kind: backend.kind(), ..options.clone() };
    let options = TaggerOptions { backend, ..TaggerOptions::default() };
    let tagger = match Tagger::new(file.clone(), &options) {
        Ok(tagger) => tagger,
        Err(OpenError::Backend(error)) => return Err(error),
        Err(error) => return Ok(vec![with_causes(&error)]),
    };
    if vectors.sources.is_empty() || vectors.sources.len() != vectors.targets.len() {
        let (sources, targets) = (vectors.sources.len(), vectors.targets.len());
        return Ok(vec![format!("the proof has {sources} sources and {targets} targets")]);
    }
    let found = tagger.target_ids(&vectors.sources)?;
    let pairs = vectors.targets.iter().zip(&found).enumerate();
    let wrong = pairs.filter(|(_, (expected, found))| !found.starts_with(expected));
    Ok(wrong
        .map(|(at, (expected, found))| {
            format!("sentence {at}: the ids are {found:?}, expected {expected:?} at their beginning")
        })
        .collect())
}
