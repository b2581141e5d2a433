//! The scores of a split of all tasks, and the losses before training.

use std::collections::BTreeMap;

use super::diagnosis::LossBefore;
use super::error::TrainError;
use super::materials::Materials;
use crate::config::Config;
use crate::data::{Example, TaskData};
use crate::evaluate::{Evaluated, Evaluation, Settings, evaluate_task, loss_of};
use crate::model::{Decoding, Learner};
use crate::parallel::Group;

/// Validation sentences whose loss is computed before the first update.
const START_SENTENCES: usize = 256;

/// The scores by task. A task without sentences in the split has none.
pub(super) type Scores = BTreeMap<String, Evaluated>;

/// The validation scores after an update.
pub(super) struct Validated {
    pub(super) step: u64,
    pub(super) scores: Scores,
}

/// The settings of all evaluations of a training.
pub(super) fn settings(config: &Config) -> Settings {
    let t = &config.training;
    Settings {
        batch_size: t.evaluation_batch_size,
        label_smoothing: t.label_smoothing,
        decoding: Decoding { max_target_len: t.max_target_len, alignment: t.alignment },
        details: true,
    }
}

/// Evaluates the `split` of every task. The processes of `group` share the batches.
pub(super) fn of_split(
    config: &Config,
    materials: &Materials,
    learner: &dyn Learner,
    split: fn(&TaskData) -> &[Example],
    group: &Group,
) -> Result<Scores, TrainError> {
    let mut scores = Scores::new();
    for task in materials.data.iter().filter(|task| !split(task).is_empty()) {
        let evaluated = evaluate_task(learner, &task.name, split(task), &settings(config), group)?;
        scores.insert(task.name.clone(), evaluated);
    }
    Ok(scores)
}

/// The validation losses before the first update, by task, on some sentences of each. The processes of `group` share the batches.
pub(super) fn before_training(
    config: &Config,
    tasks: &[TaskData],
    learner: &dyn Learner,
    group: &Group,
) -> Result<BTreeMap<String, LossBefore>, TrainError> {
    let settings = settings(config);
    let loss = |task: &TaskData| {
        let some = &task.valid[..task.valid.len().min(START_SENTENCES)];
        let loss = loss_of(learner, &task.name, some, &settings, group)?;
        Ok((task.name.clone(), LossBefore { loss, classes: learner.classes(&task.name) }))
    };
    tasks.iter().map(loss).collect()
}

/// The evaluations without the targets.
pub(super) fn evaluations(scores: Scores) -> BTreeMap<String, Evaluation> {
    scores.into_iter().map(|(task, evaluated)| (task, evaluated.evaluation)).collect()
}
