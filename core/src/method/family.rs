//! What every family of methods implements, and the checks that families share.

use std::fmt;

use super::error::MethodError;
use super::kind::Method;
use super::names;
use super::tensors::{Init, TensorList, TrainableTensor};
use crate::backbone::shape::BackboneShape;

/// The tensors that the tasks of a run share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All tensors but an embedding, and on an encoder a classifier, for each task.
    Embedding,
    /// All tensors but, on an encoder, a classifier for each task. On a T5 a prefix of the source tells tasks apart.
    Everything,
    /// Nothing: each task has tensors of its own.
    Nothing,
}

/// A task as methods see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskShape {
    /// The task's name.
    pub name: String,
    /// Number of the task's BIO tags: the width of its classifier, on backbones that need one.
    pub bio_tags: usize,
}

impl TaskShape {
    /// Tasks with these names, without classifiers.
    pub fn named(names: &[String]) -> Vec<Self> {
        names.iter().map(|name| Self { name: name.clone(), bio_tags: 0 }).collect()
    }
}

/// A family of methods with their hyper-parameters.
pub trait MethodFamily: fmt::Debug {
    /// The method whose hyper-parameters these are.
    fn method(&self) -> Method;

    /// The tensors that the method's tasks share.
    fn sharing(&self) -> Sharing;

    /// Every tensor that training creates or changes, in a fixed order. The hyper-parameters fit the backbone (see
    /// [`MethodFamily::check`]).
    fn trainable_tensors(&self, shape: &BackboneShape, tasks: &[TaskShape]) -> Vec<TrainableTensor>;

    /// Checks the hyper-parameters against a backbone of a kind that the method runs on.
    ///
    /// # Errors
    /// Names the field and what would fit.
    fn check(&self, shape: &BackboneShape) -> Result<(), MethodError>;
}

/// Adds the classifier of `task`, if the backbone needs one: N(0, 0.02²) as BERT's own maps, biases 0
/// (docs/reference/encoders.md#classifier).
pub(super) fn add_classifier(shape: &BackboneShape, task: &TaskShape, list: &mut TensorList) {
    if shape.classifies {
        let name = names::of_task(&task.name, names::CLASSIFIER);
        list.linear(&name, [task.bio_tags, shape.width], Init::Normal { std: 0.02 });
    }
}

/// Checks a divisor of the backbone's width; `field` names it in errors.
pub(super) fn check_reduction(
    field: &'static str,
    factor: usize,
    shape: &BackboneShape,
) -> Result<(), MethodError> {
    let (d, name) = (shape.width, shape.width_field);
    if factor == 0 || !d.is_multiple_of(factor) {
        return Err(MethodError::Value {
            field,
            value: factor.to_string(),
            expected: format!("a divisor of the backbone's `{name}` {d}"),
        });
    }
    Ok(())
}

/// Checks a width of 1 to 65536.
pub(super) fn check_width(field: &'static str, n: usize) -> Result<(), MethodError> {
    if n == 0 || n > 1 << 16 {
        let expected = "a number from 1 to 65536".to_owned();
        return Err(MethodError::Value { field, value: n.to_string(), expected });
    }
    Ok(())
}

/// Checks rank and alpha of LoRA pairs.
pub(super) fn check_lora(rank: usize, alpha: f64, shape: &BackboneShape) -> Result<(), MethodError> {
    let value = |field, value: String, expected: &str| {
        Err(MethodError::Value { field, value, expected: expected.to_owned() })
    };
    if rank == 0 || rank > shape.width {
        let expected = format!("a number from 1 to `{}`", shape.width_field);
        return value("lora.rank", rank.to_string(), &expected);
    }
    if !alpha.is_finite() || alpha == 0.0 {
        return value("lora.alpha", alpha.to_string(), "a number other than 0");
    }
    Ok(())
}

/// Checks that there are tasks, and that their names differ and are usable in a tensor's name.
pub(super) fn check_tasks(tasks: &[TaskShape]) -> Result<(), MethodError> {
    let problem = |name: &str, problem| Err(MethodError::Task { name: name.to_owned(), problem });
    if tasks.is_empty() {
        return problem("", "is missing: at least one task is needed");
    }
    for (index, TaskShape { name, .. }) in tasks.iter().enumerate() {
        let usable = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(usable) {
            return problem(name, "may hold only letters, digits, `_` and `-`");
        }
        if tasks[..index].iter().any(|other| other.name == *name) {
            return problem(name, "is used twice");
        }
    }
    Ok(())
}
