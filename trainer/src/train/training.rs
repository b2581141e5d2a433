//! The training loop.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hyperloader_core::causes::with_causes;
use hyperloader_core::files::{FileError, write_atomic};
use hyperloader_core::run::{Run, RunError, Snapshot, Which};
use serde_json::json;

use super::calibration::calibrate_all;
use super::diagnosis::{LossBefore, untrained};
use super::drafters::{fit_all, too_many_labels};
use super::error::{BatchName, TrainError};
use super::handover::{Best, Resumed};
use super::materials::{Materials, check_new};
use super::observer::Observer;
use super::patience;
use super::peers;
use super::scores::{self, Scores, Validated};
use super::update::{StepBatch, Update, caught, step_error, update};
use super::warm_start;
use super::writer::{Writer, locked};
use crate::config::Config;
use crate::data::Example;
use crate::evaluate::evaluate_task;
use crate::loss::smoothing_floor;
use crate::model::{Learner, MatrixPrecision, ModelError, Start};
use crate::optimizer::{AdamW, OptimizerState};
use crate::parallel::Group;
use crate::record::{OUTCOME, Outcome, Step};
use crate::sampler::TaskSampler;
use crate::schedule::Schedule;

/// How a training ended.
#[derive(Debug)]
pub enum End {
    /// All updates are done, and the best checkpoint is evaluated.
    Finished(Outcome),
    /// It was asked to stop and saved a checkpoint.
    Stopped {
        /// The run folder.
        run: PathBuf,
        /// The number of updates so far.
        step: u64,
    },
}

/// A training that is ready to run.
pub struct Training {
    config: Config,
    materials: Materials,
    learner: Box<dyn Learner>,
    optimizer: AdamW,
    sampler: TaskSampler,
    /// The processes of the training.
    group: Group,
    writer: Writer,
    /// The run folder, as process 0 names it.
    folder: PathBuf,
    /// The number of updates so far.
    pub(super) done: u64,
    /// Seconds of training, without evaluations.
    seconds: f64,
    warnings: Vec<String>,
    /// The validation loss of each task before the first update, until one is found to diverge; empty in a resumed run.
    start: BTreeMap<String, LossBefore>,
    /// The latest validation scores.
    validated: Option<Validated>,
    /// What to say before the first update.
    notes: Vec<String>,
    /// The step after which it stops.
    pub(super) pause: Option<u64>,
}

impl Training {
    /// Loads the backbone and the corpora, creates the model, and creates the run folder with its first checkpoint. With
    /// `warm_start`, the trainable tensors are those of the best checkpoint of that run, as far as they fit the tasks. It
    /// must have the same backbone and method. Process 0 of `group` creates the folder. `observer` follows the reading of
    /// streamed tasks.
    ///
    /// # Errors
    /// If there is a run of the configured name, anything that the configuration names is unusable or differs between the
    /// processes, or `observer` ends the reading. No run folder is created then.
    pub fn prepare(
        config: Config,
        warm_start: Option<&Run>,
        group: Group,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        // Before the corpora are read, which can take long.
        if let Some(name) = config.name.as_ref().filter(|_| group.is_first()) {
            config.validate()?;
            check_new(&config.runs.join(name))?;
        }
        let materials = Materials::load(&config, &group, observer)?;
        peers::check(&group, &config, &materials)?;
        let precision = config.training.precision;
        let mut notes = Vec::new();
        let start = match warm_start {
            None => Start::Seed(config.seed),
            Some(run) => {
                let warm = warm_start::warm_start(&config, &materials, run)?;
                notes.push(warm.to_string());
                Start::Warm { seed: config.seed, taken: warm.tensors }
            }
        };
        let learner = materials.learner(&config, start, precision)?;
        let optimizer = new_optimizer(&config, &*learner);
        peers::check_parameters(&group, &*learner, 0)?;
        let run = match group.is_first() {
            true => Some(locked(materials.create_run(&config)?)?),
            false => None,
        };
        let mut training = Self::assemble(config, materials, learner, optimizer, group, run)?;
        training.notes.extend(notes);
        training.save_alone(BTreeMap::new())?;
        Ok(training)
    }

    /// Checks whether the backbone, the method and the corpora of a configuration can be used, without training.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn check(config: &Config, observer: &mut dyn Observer) -> Result<(), TrainError> {
        Materials::load(config, &Group::alone(), observer).map(drop)
    }

    /// Continues a run from its last complete checkpoint. `config` is the configuration of the run; the device, the number of
    /// threads and that of the processes in `group` may differ. Process 0 reads the checkpoint. `observer` follows the reading
    /// of streamed tasks.
    ///
    /// # Errors
    /// If no checkpoint is usable, the backbone or a corpus has changed, they differ between the processes, or `observer` ends
    /// the reading.
    pub fn resume(
        config: Config,
        run: Run,
        group: Group,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let (config, materials) = Materials::of_run(config, &run, &group, observer)?;
        peers::check(&group, &config, &materials)?;
        let mut run = group.is_first().then(|| locked(run)).transpose()?;
        let start = run.as_mut().map(|(run, _)| Resumed::read(run)).transpose()?;
        let Resumed { step, seconds, tensors, state, warnings } = group.from_first(start)?;
        let start = materials.checkpoint(&tensors.0);
        let learner = materials.learner(&config, start, config.training.precision)?;
        let mut optimizer = new_optimizer(&config, &*learner);
        optimizer
            .restore(learner.parameters(), &OptimizerState::from_tensors(state.0))
            .map_err(ModelError::from)?;
        let mut training = Self::assemble(config, materials, learner, optimizer, group, run)?;
        training.done = step;
        training.seconds = seconds;
        for _ in 0..step {
            training.sampler.next_batch(training.config.training.batch_size);
        }
        training.warnings.extend(warnings);
        Ok(training)
    }

    /// A training before its first update. `run` is that of process 0, with its lock.
    fn assemble(
        config: Config,
        materials: Materials,
        learner: Box<dyn Learner>,
        optimizer: AdamW,
        group: Group,
        run: Option<(Run, File)>,
    ) -> Result<Self, TrainError> {
        let folder = group.from_first(run.as_ref().map(|(run, _)| run.folder.clone()))?;
        let drafts = config.training.drafter && materials.base.classifier().is_none();
        let warnings = materials.data.iter().filter(|_| drafts).filter_map(too_many_labels).collect();
        let sampler = materials.sampler(&config);
        let parts = config.training.parts;
        let shared = format!("{} processes share the {parts} parts of each batch", group.size());
        Ok(Self {
            notes: (group.size() > 1).then_some(shared).into_iter().collect(),
            config,
            materials,
            learner,
            optimizer,
            sampler,
            group,
            writer: Writer::new(run)?,
            folder,
            done: 0,
            seconds: 0.0,
            warnings,
            start: BTreeMap::new(),
            validated: None,
            pause: None,
        })
    }

    /// Configuration with all defaults filled in.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Trains to the last step and evaluates the best checkpoint. If `stop` becomes true, it saves a checkpoint and returns.
    ///
    /// # Errors
    /// If a step fails or a file cannot be written. The state before the step is saved if possible.
    pub fn run(mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<End, TrainError> {
        if let Some(run) = self.writer.run() {
            observer.started(run, &self.materials.data, self.learner.parameters().count(), self.done);
        }
        self.notes.iter().for_each(|note| observer.noted(note));
        self.warnings.iter().for_each(|warning| observer.warned(warning));
        let settings = self.config.training.clone();
        let last = settings.steps;
        if self.done == 0 {
            let tasks = &self.materials.data;
            self.start = scores::before_training(&self.config, tasks, &*self.learner, &self.group)?;
        }
        while self.done < last {
            if let Some(best) = self.out_of_patience()? {
                observer.noted(&patience::note(self.done, best));
                break;
            }
            if self.group.any(self.is_paused() || stop.load(Ordering::Relaxed))? {
                self.save_where_it_stands()?;
                return Ok(End::Stopped { run: self.folder, step: self.done });
            }
            let report = match self.step() {
                Ok(report) => report,
                Err(error) => {
                    // The other processes end with the error of the step, so this one does as well.
                    if let Err(unsaved) = self.save_where_it_stands() {
                        observer.warned(&with_causes(&unsaved));
                    }
                    return Err(error);
                }
            };
            if report.step % settings.log_every == 0 || report.step == last {
                self.writer.log("train", &report)?;
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
        observer.finishing(&self.folder, self.done);
        self.outcome(observer).map(End::Finished)
    }

    /// Makes the next update, or none if it fails.
    fn step(&mut self) -> Result<Step, TrainError> {
        let began = Instant::now();
        let step = self.done + 1;
        let learning_rate = self.schedule().lr(self.done);
        let settings = &self.config.training;
        let (task, indices) = self.sampler.next_batch(settings.batch_size);
        let data = &mut self.materials.data[task];
        let drawn = data.train.batch(&indices)?;
        let examples: Vec<&Example> = drawn.iter().map(|example| &**example).collect();
        let longest = |length: fn(&Example) -> usize| examples.iter().map(|e| length(e)).max().unwrap_or(0);
        let batch = BatchName {
            task: data.name.clone(),
            longest: (longest(|e| e.source.len()), longest(|e| e.target.len())),
            indices,
        };
        let (learner, optimizer) = (&mut *self.learner, &mut self.optimizer);
        let seed = self.config.seed;
        let step_batch = StepBatch { task: &data.name, examples: &examples, seed, step };
        let update = || update(learner, optimizer, &step_batch, settings, learning_rate, &self.group);
        let Update { loss, tokens, grad_norm } = match caught(update) {
            Ok(update) => update?,
            Err(panic) => return Err(step_error(step, batch, panic.as_ref())),
        };
        for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                let rate = settings.learning_rate;
                return Err(TrainError::Diverged { what, value, step, batch, rate });
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

    /// The step of the best checkpoint, if `training.patience` evaluations after it were not better. It follows from the
    /// manifest, so a resumed run ends at the same step.
    fn out_of_patience(&self) -> Result<Option<u64>, TrainError> {
        let settings = &self.config.training;
        if settings.patience.is_none() || self.done == 0 || !self.done.is_multiple_of(settings.evaluate_every)
        {
            return Ok(None);
        }
        let best =
            self.writer.run().map(|run| run.checkpoint(Which::Best).map(|best| best.step)).transpose()?;
        let best = self.group.from_first(best)?;
        Ok(patience::is_over(settings, self.done, best).then_some(best))
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

    /// Evaluates the validation splits and returns the losses by task.
    fn validate(&mut self, observer: &mut dyn Observer) -> Result<BTreeMap<String, f64>, TrainError> {
        let (mut losses, mut scores) = (BTreeMap::new(), Scores::new());
        let settings = scores::settings(&self.config);
        for task in &self.materials.data {
            let evaluated = evaluate_task(&*self.learner, &task.name, &task.valid, &settings, &self.group)?;
            let evaluation = evaluated.evaluation.without_details();
            observer.evaluated(self.done, &task.name, &evaluation);
            let rate = self.config.training.learning_rate;
            let start = self.start.get(&task.name);
            let warning =
                start.and_then(|start| start.diverging(&task.name, self.done, evaluation.loss, rate));
            if let Some(warning) = warning {
                observer.warned(&warning);
                // Once is enough.
                self.start.remove(&task.name);
            }
            let line = json!({ "step": self.done, "task": task.name, "evaluation": evaluation });
            self.writer.log("validation", &line)?;
            losses.insert(task.name.clone(), evaluation.loss);
            scores.insert(task.name.clone(), evaluated);
        }
        self.validated = Some(Validated { step: self.done, scores });
        Ok(losses)
    }

    /// Saves a checkpoint, if all processes have the same parameters.
    fn save(&mut self, losses: BTreeMap<String, f64>) -> Result<(), TrainError> {
        peers::check_parameters(&self.group, &*self.learner, self.done)?;
        Ok(self.save_alone(losses)?)
    }

    /// Saves a checkpoint without an exchange between the processes, as after the failure of one.
    fn save_alone(&mut self, losses: BTreeMap<String, f64>) -> Result<(), RunError> {
        let Self { learner, optimizer, writer, done, config, .. } = self;
        writer.change(|run| {
            let parameters = learner.parameters();
            let (tensors, state) = (parameters.to_host(), optimizer.state(parameters).into_tensors());
            let snapshot = Snapshot { step: *done, tensors: &tensors, state: Some(&state), losses };
            run.save(&snapshot, config.training.keep_last)
        })
    }

    /// Saves a checkpoint, unless the last one has the same step.
    fn save_where_it_stands(&mut self) -> Result<(), RunError> {
        match self.writer.run().map(|run| run.checkpoint(Which::Last)) {
            Some(Ok(last)) if last.step == self.done => Ok(()),
            _ => self.save_alone(BTreeMap::new()),
        }
    }

    /// Evaluates the best checkpoint.
    fn outcome(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let best = self.writer.run().map(Best::read).transpose()?;
        let Best { step, sha256, tensors } = self.group.from_first(best)?;
        // In float32, the precision of an exported file.
        let start = self.materials.checkpoint(&tensors.0);
        self.learner = self.materials.learner(&self.config, start, MatrixPrecision::F32)?;
        let Self { config, materials, learner, writer, group, validated, .. } = &mut self;
        if config.training.drafter
            && let Some(drafters) = fit_all(config, materials, &**learner, observer, group)?
        {
            writer.change(|run| run.save_drafters(&drafters))?;
        }
        let validation = match validated.take() {
            // The tensors of the checkpoint were evaluated in the precision of an exported file.
            Some(of_step) if of_step.step == step && config.training.precision == MatrixPrecision::F32 => {
                of_step.scores
            }
            _ => scores::of_split(config, materials, &**learner, |task| &task.valid, group)?,
        };
        if config.training.calibrate {
            let model = (&**learner, &*sha256);
            let calibration = calibrate_all(config, materials, model, &validation, observer, group)?;
            writer.change(|run| run.save_calibration(&calibration))?;
        }
        let test = scores::of_split(config, materials, &**learner, |task| &task.test, group)?;
        let [validation, test] = [validation, test].map(scores::evaluations);
        for (task, evaluation) in &validation {
            untrained(task, evaluation).iter().for_each(|warning| observer.warned(warning));
        }
        let outcome = Outcome {
            run: self.folder.clone(),
            best_step: step,
            train_seconds: self.seconds,
            validation,
            test,
        };
        if self.group.is_first() {
            let text = serde_json::to_string(&outcome)
                .map_err(|e| FileError::new("write", &self.folder, std::io::Error::other(e)))?;
            write_atomic(&self.folder.join(OUTCOME), |w| writeln!(w, "{text}"))?;
        }
        self.writer.log("outcome", &outcome.without_details())?;
        Ok(outcome)
    }
}

fn new_optimizer(config: &Config, learner: &dyn Learner) -> AdamW {
    let settings = &config.training;
    AdamW::new(learner.parameters(), settings.weight_decay, settings.absent_gradient)
}
