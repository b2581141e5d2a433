//! The calibration of a run's scores.

use std::collections::BTreeMap;

use hyperloader_core::run::{Run, RunCalibration, Which};

use super::error::TrainError;
use super::materials::Materials;
use super::observer::Observer;
use super::scores::{self, Scores};
use crate::calibrate::calibrate_task;
use crate::config::Config;
use crate::model::{Decoding, Learner, MatrixPrecision};
use crate::parallel::Group;

/// Calibrates the scores of a run's best checkpoint and saves the calibration in the run folder.
///
/// # Errors
/// If the run, its backbone or its corpora are unusable or have changed.
pub fn calibrate(config: Config, mut run: Run, observer: &mut dyn Observer) -> Result<Run, TrainError> {
    let (config, materials) = Materials::of_run(config, &run, &Group::alone(), observer)?;
    let _lock = run.lock()?;
    let best = run.checkpoint(Which::Best)?.clone();
    let start = materials.checkpoint(&run.read(&best)?);
    let learner = materials.learner(&config, start, MatrixPrecision::F32)?;
    let alone = Group::alone();
    let validated = scores::of_split(&config, &materials, &*learner, |task| &task.valid, &alone)?;
    let model = (&*learner, &*best.sha256);
    let calibration = calibrate_all(&config, &materials, model, &validated, observer, &alone)?;
    run.save_calibration(&calibration)?;
    Ok(run)
}

/// The calibration of all tasks, which the processes of `group` compute together. The learner has the tensors of the checkpoint
/// with this SHA-256, and `validated` are its validation scores.
pub(super) fn calibrate_all(
    config: &Config,
    materials: &Materials,
    (learner, checkpoint_sha256): (&dyn Learner, &str),
    validated: &Scores,
    observer: &mut dyn Observer,
    group: &Group,
) -> Result<RunCalibration, TrainError> {
    let settings = &config.training;
    let decoding = Decoding { max_target_len: settings.max_target_len, alignment: settings.alignment };
    let mut tasks = BTreeMap::new();
    for task in &materials.data {
        let batch_size = settings.evaluation_batch_size;
        let targets = validated.get(&task.name).map_or(&[][..], |evaluated| &evaluated.targets);
        let valid = (&*task.valid, targets);
        let calibration = calibrate_task(learner, &task.name, valid, batch_size, decoding, group)?;
        observer.calibrated(&task.name, calibration.as_ref());
        tasks.extend(calibration.map(|calibration| (task.name.clone(), calibration)));
    }
    Ok(RunCalibration { checkpoint_sha256: checkpoint_sha256.to_owned(), tasks })
}
