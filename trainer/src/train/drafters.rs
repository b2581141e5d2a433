//! The drafters of a run, which make `hl-run` faster and change no tag.

use hyperloader_core::run::{Run, Which};
use hyperloader_core::text::drafter::MAX_TAGS;
use hyperloader_core::text::target::tag_count;
use hyperloader_core::weights::tensors::Tensors;

use super::error::TrainError;
use super::materials::Materials;
use super::observer::Observer;
use crate::config::Config;
use crate::data::TaskData;
use crate::model::{Learner, MatrixPrecision, ModelError};
use crate::parallel::Group;

/// Fits the drafters of a run from its best checkpoint and saves them in the run folder.
///
/// # Errors
/// If the run, its backbone or its corpora are unusable or have changed, or its model generates no text.
pub fn fit_drafters(config: Config, mut run: Run, observer: &mut dyn Observer) -> Result<Run, TrainError> {
    let (config, materials) = Materials::of_run(config, &run, &Group::alone(), observer)?;
    let _lock = run.lock()?;
    let best = run.read(run.checkpoint(Which::Best)?)?;
    let learner = materials.learner(&config, materials.checkpoint(&best), MatrixPrecision::F32)?;
    materials.data.iter().filter_map(too_many_labels).for_each(|warning| observer.warned(&warning));
    let drafters = fit_all(&config, &materials, &*learner, observer, &Group::alone())?;
    let drafters = drafters.ok_or_else(|| TrainError::NothingToDraft(run.manifest.name.clone()))?;
    run.save_drafters(&drafters)?;
    Ok(run)
}

/// The drafters of all tasks, fitted by the processes of `group`; `None` if the model generates no text.
pub(super) fn fit_all(
    config: &Config,
    materials: &Materials,
    learner: &dyn Learner,
    observer: &mut dyn Observer,
    group: &Group,
) -> Result<Option<Tensors>, TrainError> {
    let mut all = Tensors::new();
    for task in materials.data.iter().filter(|task| too_many_labels(task).is_none()) {
        let drafter = learner.drafter(task, config.seed, group).map_err(|source| match source {
            ModelError::Peer(error) => TrainError::Peer(error),
            source => TrainError::Drafter { task: task.name.clone(), source: Box::new(source) },
        })?;
        let Some(tensors) = drafter else { return Ok(None) };
        all.extend(tensors);
        observer.drafter_fitted(&task.name);
    }
    Ok(Some(all))
}

/// A warning if a task has more tags than a drafter is fitted for.
pub(super) fn too_many_labels(task: &TaskData) -> Option<String> {
    let (name, labels) = (&task.name, task.labels.len());
    (tag_count(labels) > MAX_TAGS).then(|| {
        let most = MAX_TAGS - tag_count(0);
        format!("task `{name}` has {labels} labels: no drafter is fitted, which is made for at most {most}")
    })
}
