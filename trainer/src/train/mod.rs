//! The training loop: sample, step, log, evaluate, keep checkpoints, go on where a run was cut.
//!
//! A step depends on nothing but the checkpoint before it and its own number: batches are drawn again from the seed,
//! dropout is seeded for each step. So a run that was cut and resumed is, on the CPU, the run that was not.

mod base;
mod error;
mod materials;
mod update;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hyperloader_core::causes::with_causes;
use hyperloader_core::files::{FileError, read_text, write_atomic};
use hyperloader_core::run::{ResumePoint, Run, Snapshot, Which};
use hyperloader_core::weights::tensors::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use self::error::{BatchName, TrainError};
pub use self::materials::CONFIG;
use self::materials::{Materials, backbone_reference, check_warm_start, create_run, manifest_tasks};
use self::update::{Update, caught, step_error, step_seed, update};
use crate::config::Config;
use crate::data::{Example, TaskData};
use crate::evaluate::{Evaluation, Settings, evaluate_task};
use crate::learner::Learner;
use crate::loss::smoothing_floor;
use crate::model::{Precision, TaggerError};
use crate::optimizer::{AdamW, OptimizerState};
use crate::report::OUTCOME;
use crate::report::tensorboard::EventFile;
use crate::sampler::TaskSampler;
use crate::schedule::Schedule;

/// What a training reports while it runs; the loop itself never prints.
pub trait Observer {
    /// Data is loaded and the run's folder exists; `done` updates were made before the run was cut.
    fn started(&mut self, run: &Run, data: &[TaskData], trainable: usize, done: u64);
    /// Something is wrong that training can do without.
    fn warned(&mut self, warning: &str);
    /// An update is done.
    fn stepped(&mut self, step: &Step);
    /// A task's validation split is evaluated.
    fn evaluated(&mut self, step: u64, task: &str, evaluation: &Evaluation);
    /// A task's drafter is fitted.
    fn drafter_fitted(&mut self, _task: &str) {}
}

/// One update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Updates done, this one included.
    pub step: u64,
    /// The batch's task.
    pub task: String,
    /// Label-smoothed loss in nats per target token.
    pub loss: f64,
    /// The part of it that a perfect model would lack.
    pub loss_above_floor: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate of this update.
    pub learning_rate: f64,
    /// Target tokens of the batch.
    pub tokens: i64,
    /// Since the training began, without evaluations.
    pub seconds: f64,
}

/// What a finished training is worth: the best checkpoint on both held-out splits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The run's folder.
    pub run: PathBuf,
    /// Step of the best checkpoint.
    pub best_step: u64,
    /// Seconds of training, without evaluations.
    pub train_seconds: f64,
    /// By task.
    pub validation: BTreeMap<String, Evaluation>,
    /// By task; tasks without a test split are left out.
    pub test: BTreeMap<String, Evaluation>,
}

impl Outcome {
    /// The scores alone.
    pub fn without_details(&self) -> Self {
        let brief = |evaluations: &BTreeMap<String, Evaluation>| {
            evaluations
                .iter()
                .map(|(task, e)| (task.clone(), Evaluation { details: None, ..e.clone() }))
                .collect()
        };
        Self { validation: brief(&self.validation), test: brief(&self.test), ..self.clone() }
    }
}

/// How a training ended.
#[derive(Debug)]
pub enum End {
    /// All updates are done.
    Finished(Outcome),
    /// It was asked to stop, and saved.
    Stopped {
        /// The run's folder.
        run: PathBuf,
        /// Updates done.
        step: u64,
    },
}

/// A training, ready to run.
pub struct Training {
    config: Config,
    materials: Materials,
    learner: Box<dyn Learner>,
    optimizer: AdamW,
    sampler: TaskSampler,
    run: Run,
    /// Keeps other trainings out of the run's folder.
    _lock: File,
    metrics: File,
    metrics_path: PathBuf,
    events: EventFile,
    /// Updates done.
    done: u64,
    /// Seconds of training, without evaluations.
    seconds: f64,
    warnings: Vec<String>,
}

impl Training {
    /// Loads backbone and corpora, creates the model and the run's folder with its first checkpoint. `warm_start` takes
    /// the trainable tensors of a run on the same backbone, method and tasks in place of fresh ones.
    ///
    /// # Errors
    /// If anything that the configuration names is unusable; no run is left then.
    pub fn prepare(config: Config, warm_start: Option<&Run>) -> Result<Self, TrainError> {
        let materials = Materials::load(&config)?;
        let precision = config.training.precision;
        let tensors = match warm_start {
            None => None,
            Some(run) => {
                check_warm_start(&config, &materials, run)?;
                Some(run.read(run.checkpoint(Which::Best)?)?)
            }
        };
        let learner = materials.learner(&config, tensors.as_ref(), precision)?;
        let optimizer = new_optimizer(&config, &*learner);
        let run = create_run(&config, &materials)?;
        let lock = run.lock()?;
        let mut training = Self::assemble(config, materials, learner, optimizer, run, lock)?;
        training.save(BTreeMap::new())?;
        Ok(training)
    }

    /// Finds out whether backbone, method and corpora of a configuration can be used, without training.
    ///
    /// # Errors
    /// If one of them cannot.
    pub fn check(config: &Config) -> Result<(), TrainError> {
        Materials::load(config).map(drop)
    }

    /// Goes on with a run from its last whole checkpoint; `config` is its own, perhaps on another device.
    ///
    /// # Errors
    /// If no checkpoint is usable, or backbone or corpora are not what they were.
    pub fn resume(config: Config, mut run: Run) -> Result<Self, TrainError> {
        let (config, materials) = materials_of(config, &run)?;
        let lock = run.lock()?;
        let ResumePoint { step, tensors, state, passed_over } = run.resume()?;
        let learner = materials.learner(&config, Some(&tensors), config.training.precision)?;
        let mut optimizer = new_optimizer(&config, &*learner);
        optimizer
            .restore(learner.parameters(), &OptimizerState::from_tensors(state))
            .map_err(TaggerError::from)?;
        let seconds = keep_metrics(&run.folder.join(METRICS), step)?;
        let mut training = Self::assemble(config, materials, learner, optimizer, run, lock)?;
        training.done = step;
        training.seconds = seconds;
        for _ in 0..step {
            training.sampler.next_batch(training.config.training.batch_size);
        }
        training.warnings = passed_over
            .iter()
            .map(|error| format!("{}; training continues from step {step}", with_causes(error)))
            .collect();
        Ok(training)
    }

    fn assemble(
        config: Config,
        materials: Materials,
        learner: Box<dyn Learner>,
        optimizer: AdamW,
        run: Run,
        lock: File,
    ) -> Result<Self, TrainError> {
        let metrics_path = run.folder.join(METRICS);
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&metrics_path)
            .map_err(|e| FileError::new("write", &metrics_path, e))?;
        let events = EventFile::open(&run.folder)?;
        let sampler = materials.sampler(&config);
        Ok(Self {
            config,
            materials,
            learner,
            optimizer,
            sampler,
            run,
            _lock: lock,
            metrics,
            metrics_path,
            events,
            done: 0,
            seconds: 0.0,
            warnings: Vec::new(),
        })
    }

    /// What it was told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Trains to the last step and evaluates the best checkpoint. When `stop` becomes true, saves and returns.
    ///
    /// # Errors
    /// If a step fails or a file cannot be written; the state before the step is saved where possible.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<End, TrainError> {
        observer.started(&self.run, &self.materials.data, self.learner.parameters().count(), self.done);
        for warning in &self.warnings {
            observer.warned(warning);
        }
        let settings = self.config.training.clone();
        let last = settings.steps;
        while self.done < last {
            if stop.load(Ordering::Relaxed) {
                self.save_where_it_stands()?;
                return Ok(End::Stopped { run: self.run.folder, step: self.done });
            }
            let report = match self.step() {
                Ok(report) => report,
                Err(error) => {
                    self.save_where_it_stands()?;
                    return Err(error);
                }
            };
            if report.step % settings.log_every == 0 || report.step == last {
                self.log("train", &report)?;
            }
            observer.stepped(&report);
            let due = |every: u64| report.step % every == 0 || report.step == last;
            if due(settings.evaluate_every) {
                let losses = self.validate(observer)?;
                self.save(losses)?;
            } else if settings.save_every.is_some_and(due) {
                self.save(BTreeMap::new())?;
            }
        }
        self.outcome(observer).map(End::Finished)
    }

    /// The next update, all or nothing.
    fn step(&mut self) -> Result<Step, TrainError> {
        let began = Instant::now();
        let step = self.done + 1;
        let settings = &self.config.training;
        let (task, indices) = self.sampler.next_batch(settings.batch_size);
        let data = &self.materials.data[task];
        let examples: Vec<&Example> = indices.iter().map(|&i| &data.train[i]).collect();
        let longest = |length: fn(&Example) -> usize| examples.iter().map(|e| length(e)).max().unwrap_or(0);
        let batch = BatchName {
            task: data.name.clone(),
            longest: (longest(|e| e.source.len()), longest(|e| e.target.len())),
            indices,
        };
        tch::manual_seed(step_seed(self.config.seed, step));
        let learning_rate = self.schedule().lr(self.done);
        let (learner, optimizer) = (&mut *self.learner, &mut self.optimizer);
        let update = || update(learner, optimizer, &batch.task, &examples, settings, learning_rate);
        let Update { loss, tokens, grad_norm } = match caught(update) {
            Ok(update) => update?,
            Err(panic) => return Err(step_error(step, batch, panic.as_ref())),
        };
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(TrainError::Diverged { what, value, step, batch });
            }
        }
        self.done = step;
        self.seconds += began.elapsed().as_secs_f64();
        let per_token = loss / tokens.max(1) as f64;
        let floor = smoothing_floor(settings.label_smoothing, self.learner.classes(&batch.task));
        Ok(Step {
            step,
            task: batch.task,
            loss: per_token,
            loss_above_floor: per_token - floor,
            grad_norm,
            learning_rate,
            tokens,
            seconds: self.seconds,
        })
    }

    fn schedule(&self) -> Schedule {
        let settings = &self.config.training;
        Schedule {
            base: settings.learning_rate,
            warmup: settings.warmup_steps,
            total: settings.steps,
            decay: settings.schedule,
        }
    }

    fn settings(&self) -> Settings {
        let t = &self.config.training;
        Settings {
            batch_size: t.evaluation_batch_size,
            label_smoothing: t.label_smoothing,
            max_target_len: t.max_target_len,
            alignment: t.alignment,
            details: false,
        }
    }

    /// Validation loss by task.
    fn validate(&mut self, observer: &mut dyn Observer) -> Result<BTreeMap<String, f64>, TrainError> {
        let mut losses = BTreeMap::new();
        for task in &self.materials.data {
            let evaluation = evaluate_task(&*self.learner, &task.name, &task.valid, &self.settings())?;
            observer.evaluated(self.done, &task.name, &evaluation);
            let line = json!({ "step": self.done, "task": task.name, "evaluation": evaluation });
            log(&mut self.metrics, &self.metrics_path, &mut self.events, "validation", &line)?;
            losses.insert(task.name.clone(), evaluation.loss);
        }
        Ok(losses)
    }

    fn save(&mut self, losses: BTreeMap<String, f64>) -> Result<(), TrainError> {
        let parameters = self.learner.parameters();
        let (tensors, state) = (parameters.to_host(), self.optimizer.state(parameters).into_tensors());
        let snapshot = Snapshot { step: self.done, tensors: &tensors, state: Some(&state), losses };
        Ok(self.run.save(&snapshot, self.config.training.keep_last)?)
    }

    /// Saves unless the last checkpoint is of this very step.
    fn save_where_it_stands(&mut self) -> Result<(), TrainError> {
        match self.run.checkpoint(Which::Last) {
            Ok(last) if last.step == self.done => Ok(()),
            _ => self.save(BTreeMap::new()),
        }
    }

    fn log(&mut self, kind: &str, value: &impl Serialize) -> Result<(), TrainError> {
        log(&mut self.metrics, &self.metrics_path, &mut self.events, kind, &json!(value))
    }

    fn outcome(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let best = self.run.checkpoint(Which::Best)?.clone();
        // In the precision of the file that it will be exported to.
        let tensors = self.run.read(&best)?;
        self.learner = self.materials.learner(&self.config, Some(&tensors), Precision::F32)?;
        if self.config.training.drafter
            && let Some(drafters) = drafters(&self.config, &self.materials, &*self.learner, observer)?
        {
            self.run.save_drafters(&drafters)?;
        }
        let (mut validation, mut test) = (BTreeMap::new(), BTreeMap::new());
        for task in &self.materials.data {
            for (split, scores) in [(&task.valid, &mut validation), (&task.test, &mut test)] {
                if !split.is_empty() {
                    let settings = Settings { details: true, ..self.settings() };
                    let evaluation = evaluate_task(&*self.learner, &task.name, split, &settings)?;
                    scores.insert(task.name.clone(), evaluation);
                }
            }
        }
        let outcome = Outcome {
            run: self.run.folder.clone(),
            best_step: best.step,
            train_seconds: self.seconds,
            validation,
            test,
        };
        let text = serde_json::to_string(&outcome)
            .map_err(|e| FileError::new("write", &self.run.folder, std::io::Error::other(e)))?;
        write_atomic(&self.run.folder.join(OUTCOME), |w| writeln!(w, "{text}"))?;
        self.log("outcome", &outcome.without_details())?;
        Ok(outcome)
    }
}

/// Fits the drafters of a run that has none, or other ones, from its best checkpoint.
///
/// # Errors
/// If the run, its backbone or its corpora are unusable, or not what they were.
pub fn fit_drafters(config: Config, mut run: Run, observer: &mut dyn Observer) -> Result<Run, TrainError> {
    let (config, materials) = materials_of(config, &run)?;
    let _lock = run.lock()?;
    let best = run.read(run.checkpoint(Which::Best)?)?;
    let learner = materials.learner(&config, Some(&best), Precision::F32)?;
    let drafters = drafters(&config, &materials, &*learner, observer)?;
    let drafters = drafters.ok_or_else(|| TrainError::NothingToDraft(run.manifest.name.clone()))?;
    run.save_drafters(&drafters)?;
    Ok(run)
}

/// The drafters of all tasks; `None` if the model decodes nothing.
fn drafters(
    config: &Config,
    materials: &Materials,
    learner: &dyn Learner,
    observer: &mut dyn Observer,
) -> Result<Option<Tensors>, TrainError> {
    let mut all = Tensors::new();
    for task in &materials.data {
        let Some(tensors) = learner.drafter(task, config.seed)? else { return Ok(None) };
        all.extend(tensors);
        observer.drafter_fitted(&task.name);
    }
    Ok(Some(all))
}

/// What a run was made from, if it is still the same.
fn materials_of(mut config: Config, run: &Run) -> Result<(Config, Materials), TrainError> {
    // The very backbone that it was trained on, even if the hub's cache holds a later version by now.
    let folder = run.folder.join(&run.manifest.backbone.path);
    if run.manifest.backbone.hub.is_some() && folder.is_dir() {
        (config.backbone.path, config.backbone.id) = (Some(folder), None);
    }
    let changed = |what: String| TrainError::Changed { run: run.manifest.name.clone(), what };
    if config.method != run.manifest.method {
        return Err(changed("the method, or a hyper-parameter of it,".into()));
    }
    let materials = Materials::load(&config)?;
    if backbone_reference(&run.folder, &materials)?.sha256 != run.manifest.backbone.sha256 {
        return Err(changed("the backbone".into()));
    }
    for (mut now, then) in manifest_tasks(&config, &materials.data).into_iter().zip(&run.manifest.tasks) {
        // Runs of the first version keep no hash of their corpora.
        if then.train_sha256.is_empty() {
            now.train_sha256.clear();
        }
        if now != *then {
            return Err(changed(format!("the corpus of task `{}`", then.name)));
        }
    }
    Ok((config, materials))
}

fn new_optimizer(config: &Config, learner: &dyn Learner) -> AdamW {
    let settings = &config.training;
    AdamW::new(learner.parameters(), settings.weight_decay, settings.absent_gradient)
}

/// The log in a run's folder: a JSON object a line, by `kind`.
pub const METRICS: &str = "metrics.jsonl";

fn log(
    file: &mut File,
    path: &Path,
    events: &mut EventFile,
    kind: &str,
    value: &serde_json::Value,
) -> Result<(), TrainError> {
    let mut line = json!({ "kind": kind });
    if let (Some(line), Some(fields)) = (line.as_object_mut(), value.as_object()) {
        line.extend(fields.clone());
    }
    writeln!(file, "{line}").map_err(|e| FileError::new("write", path, e))?;
    // A number that is none (JSON's null) has no place in a plot.
    if let Ok(line) = serde_json::from_value(line) {
        events.record(&line)?;
    }
    Ok(())
}

/// Drops what a cut run logged after `step`, and gives its seconds of training until then.
fn keep_metrics(path: &Path, step: u64) -> Result<f64, FileError> {
    let text = if path.exists() { read_text(path)? } else { String::new() };
    let mut seconds = 0.0;
    let mut kept = Vec::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if value["step"].as_u64().is_some_and(|at| at <= step) {
            seconds = value["seconds"].as_f64().unwrap_or(seconds);
            kept.push(line);
        }
    }
    write_atomic(path, |w| kept.iter().try_for_each(|line| writeln!(w, "{line}")))?;
    Ok(seconds)
}
