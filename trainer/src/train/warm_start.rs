//! A training that starts from the tensors of another run, also if that run has other tasks.
//!
//! The tensors that a method shares between tasks are taken. So are those of tasks that both runs have, but for the
//! classifiers of tasks whose labels differ. All others are new: embeddings and modules of tasks that the run was not
//! trained on.

use std::collections::BTreeSet;
use std::fmt;

use hyperloader_core::method::names::of_task;
use hyperloader_core::method::{MethodConfig, TaskShape, TrainableTensor};
use hyperloader_core::run::{Manifest, Run, Task, Which};
use hyperloader_core::text::labels::bio_tags;
use hyperloader_core::weights::tensors::Tensors;

use super::error::TrainError;
use super::materials::Materials;
use crate::config::Config;
use crate::data::TaskData;

/// What a training takes from another run.
#[derive(Debug)]
pub(super) struct WarmStart {
    /// The tensors that are taken.
    pub(super) tensors: Tensors,
    /// Name of the run.
    run: String,
    /// The step of its best checkpoint.
    step: u64,
    /// Number of new tensors.
    new: usize,
    /// Tasks with new tensors.
    new_tasks: Vec<String>,
    /// Tasks of the run that the configuration lacks.
    left_out: Vec<String>,
}

impl fmt::Display for WarmStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensors, run, step, new, new_tasks, left_out } = self;
        write!(f, "starts from run `{run}` at step {step}: {} tensors taken", tensors.len())?;
        match new_tasks.as_slice() {
            [] => {}
            tasks => write!(f, "; {new} new, for {}", quoted(tasks))?,
        }
        match left_out.as_slice() {
            [] => Ok(()),
            tasks => write!(f, "; tasks left out: {}", quoted(tasks)),
        }
    }
}

/// The tensors of the best checkpoint of `run` that fit the configuration.
///
/// # Errors
/// If the method, its hyper-parameters or the backbone differ; the message gives both. If no tensor fits.
pub(super) fn warm_start(config: &Config, materials: &Materials, run: &Run) -> Result<WarmStart, TrainError> {
    check(config, materials, run)?;
    let checkpoint = run.checkpoint(Which::Best)?;
    let mut theirs = run.read(checkpoint)?;
    let Manifest { name, tasks, .. } = &run.manifest;
    let relearned = relearned(materials, tasks);
    let is_relearned = |tensor: &str| relearned.iter().any(|module| tensor.starts_with(module));
    let (mut tensors, mut new) = (Tensors::new(), Vec::new());
    for TrainableTensor { name, shape, .. } in trainable(config, materials) {
        match theirs.remove(&name) {
            Some(tensor) if tensor.shape() == shape && !is_relearned(&name) => {
                tensors.insert(name, tensor);
            }
            _ => new.push(name),
        }
    }
    if tensors.is_empty() {
        let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        return Err(TrainError::NothingShared {
            run: name.clone(),
            method: config.method.method(),
            tasks: quoted(&known),
        });
    }
    let ours: Vec<&String> = config.tasks.keys().collect();
    let with_new = |task: &&&String| {
        let is_known = tasks.iter().any(|theirs| theirs.name == ***task);
        !is_known || new.iter().any(|tensor| tensor.starts_with(&of_task(task, "")))
    };
    let new_tasks =
        if new.is_empty() { vec![] } else { ours.iter().filter(with_new).map(|&t| t.clone()).collect() };
    let left_out = tasks.iter().filter(|task| !config.tasks.contains_key(&task.name));
    Ok(WarmStart {
        run: name.clone(),
        step: checkpoint.step,
        new: new.len(),
        new_tasks,
        left_out: left_out.map(|task| task.name.clone()).collect(),
        tensors,
    })
}

/// Every tensor of the configuration's model.
fn trainable(config: &Config, materials: &Materials) -> Vec<TrainableTensor> {
    let shape = |data: &TaskData| {
        let labels: Vec<&str> = data.labels.iter().collect();
        TaskShape { name: data.name.clone(), bio_tags: bio_tags(&labels).len() }
    };
    let tasks: Vec<TaskShape> = materials.data.iter().map(shape).collect();
    config.method.trainable_tensors(materials.base.backbone().config(), &tasks)
}

/// Checks that `run` has the method, the hyper-parameters and the backbone of the configuration.
fn check(config: &Config, materials: &Materials, run: &Run) -> Result<(), TrainError> {
    let Manifest { name, method, backbone: trained_on, .. } = &run.manifest;
    let hash = materials.base.backbone().hash()?;
    let [their_method, our_method] =
        [method.method(), config.method.method()].map(|method| format!("`{method}`"));
    let (what, theirs, ours) = if their_method != our_method {
        ("method", their_method, our_method)
    } else if *method != config.method {
        // As in a configuration, on one line.
        let text = |method: &MethodConfig| serde_json::to_string(method).unwrap_or_default();
        ("set of hyper-parameters", text(method), text(&config.method))
    } else if trained_on.sha256 != hash {
        ("backbone's SHA-256", trained_on.sha256.clone(), hash)
    } else {
        return Ok(());
    };
    Err(TrainError::WarmStart { run: name.clone(), what, theirs, ours })
}

/// The beginnings of the names of classifiers that must be learned again, because the labels of their tasks differ.
fn relearned(materials: &Materials, tasks: &[Task]) -> BTreeSet<String> {
    let differs = |task: &&TaskData| {
        let theirs = tasks.iter().find(|theirs| theirs.name == task.name);
        theirs.is_none_or(|theirs| !task.labels.iter().eq(theirs.labels.iter().map(String::as_str)))
    };
    let Some(classifier) = materials.base.classifier() else { return BTreeSet::new() };
    let changed = materials.data.iter().filter(differs);
    changed.map(|task| of_task(&task.name, &format!("{classifier}."))).collect()
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
