//! The drafters of a run, which make `hl-run` faster and change no tag.

use hyperloader_core::run::{Run, Which};
use hyperloader_core::weights::tensors::Tensors;

use super::error::TrainError;
use super::materials::Materials;
use super::observer::Observer;
use crate::config::Config;
use crate::model::{Learner, MatrixPrecision};

/// Fits the drafters of a run from its best checkpoint and saves them in the run folder.
///
/// # Errors
/// If the run, its backbone or its corpora are unusable or have changed, or its model generates no text.
pub fn fit_drafters(config: Config, mut run: Run, observer: &mut dyn Observer) -> Result<Run, TrainError> {
    let (config, materials) = Materials::of_run(config, &run)?;
    let _lock = run.lock()?;
    let best = run.read(run.checkpoint(Which::Best)?)?;
    let learner = materials.learner(&config, Some(&best), MatrixPrecision::F32)?;
    let drafters = fit_all(&config, &materials, &*learner, observer)?;
    let drafters = drafters.ok_or_else(|| TrainError::NothingToDraft(run.manifest.name.clone()))?;
    run.save_drafters(&drafters)?;
    Ok(run)
}

/// The drafters of all tasks; `None` if the model generates no text.
pub(super) fn fit_all(
    config: &Config,
    materials: &Materials,
    learner: &dyn Learner,
    observer: &mut dyn Observer,
) -> Result<Option<Tensors>, TrainError> {
    let mut all = Tensors::new();
    for task in &materials.data {
        let drafter = learner
            .drafter(task, config.seed)
            .map_err(|source| TrainError::Drafter { task: task.name.clone(), source: Box::new(source) })?;
        let Some(tensors) = drafter else { return Ok(None) };
        all.extend(tensors);
        observer.drafter_fitted(&task.name);
    }
    Ok(Some(all))
}
