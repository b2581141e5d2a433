//! A search: its candidates, what is to be trained next, and the training.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hyperloader_core::run::{Run, Which};

use super::error::TuneError;
use super::rungs::{Rung, rungs};
use super::state::State;
use super::trial::{Measured, Trial, has_ended, measured};
use crate::config::{Config, ConfigError};
use crate::train::{End, Observer, TrainError, Training};

/// The name of a search whose configuration has none.
const NAME: &str = "tune";

/// A search for the best learning rate.
#[derive(Debug)]
pub struct Search {
    /// The folder of the search.
    pub folder: PathBuf,
    /// The learning rates of the candidates.
    pub rates: Vec<f64>,
    /// The rungs, of which the last ends at the last step.
    pub rungs: Vec<Rung>,
    /// The configuration of all candidates; its learning rate is not used.
    config: Config,
    state: State,
}

/// A candidate that is to be trained to the end of a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// The index of the rung, from 0.
    pub rung: usize,
    /// The learning rate of the candidate.
    pub learning_rate: f64,
    /// The place of the candidate among those of the rung, from 1, and their number.
    pub place: (usize, usize),
}

/// How a job ended.
#[derive(Debug)]
pub enum JobEnd {
    /// The candidate reached the end of the rung, or diverged before.
    Measured(Measured),
    /// It was asked to stop and saved a checkpoint.
    Stopped,
}

impl Search {
    /// A search over `rates` in the folder `config.name` of `config.runs`. A rung keeps the best `1 / eta` of its candidates.
    ///
    /// # Errors
    /// If a value is out of range.
    pub fn new(config: Config, rates: &[f64], eta: usize) -> Result<Self, TuneError> {
        config.validate()?;
        check(rates, eta)?;
        let folder = config.runs.join(config.name.as_deref().unwrap_or(NAME));
        let training = &config.training;
        let rungs = rungs(rates.len(), eta, training.steps, training.evaluate_every);
        let state = State::new(&folder, &config, rates, eta)?;
        Ok(Self { folder, rates: rates.to_vec(), rungs, config, state })
    }

    /// Settings that make the search less useful, as messages.
    pub fn warnings(&self) -> Vec<String> {
        let (first, training) = (self.rungs[0].steps, &self.config.training);
        let mut warnings = Vec::new();
        if self.rungs.len() == 1 {
            warnings.push(format!(
                "all candidates are trained to step {first}, because nothing is measured before\n\
                 hint: a lower `training.evaluate_every` makes the search shorter (it is {})",
                training.evaluate_every
            ));
        } else if first <= training.warmup_steps {
            warnings.push(format!(
                "the first rung ends at step {first}, before the learning rates have reached their highest values at step {}\n\
                 hint: fewer `training.warmup_steps`, more `training.steps` or fewer candidates",
                training.warmup_steps
            ));
        }
        warnings
    }

    /// Reads what an earlier command has measured.
    ///
    /// # Errors
    /// If the folder holds something else, or a search with other settings.
    pub fn resume(&mut self) -> Result<(), TuneError> {
        self.state = self.state.clone().read(&self.folder)?;
        Ok(())
    }

    /// Creates the folder of the search.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn create(&self) -> Result<(), TuneError> {
        Ok(self.state.write(&self.folder)?)
    }

    /// Checks whether the backbone, the method and the corpora can be used, without training. `observer` follows the reading
    /// of streamed tasks, whose stores all candidates share.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn check(&self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        Ok(Training::check(&self.candidate(self.rates[0]), observer)?)
    }

    /// What is to be trained next; `None` if the search is over.
    pub fn next_job(&self) -> Option<Job> {
        (0..self.rungs.len()).find_map(|rung| {
            let entrants = self.entrants(rung);
            let at = entrants.iter().position(|rate| self.trial(rung, *rate).is_none())?;
            Some(Job { rung, learning_rate: entrants[at], place: (at + 1, entrants.len()) })
        })
    }

    /// Trains a candidate to the end of a rung, or resumes it if it was interrupted, and stores what was measured.
    ///
    /// # Errors
    /// If it cannot be trained for another reason than its learning rate, or a file cannot be written.
    pub fn train(
        &mut self,
        job: Job,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<JobEnd, TuneError> {
        let steps = self.rungs[job.rung].steps;
        let run = self.run_folder(job.learning_rate);
        let measured = match self.has_reached(&run, steps)? {
            true => measured(&run, steps, self.config.tasks.len())?,
            false => {
                let training = Training::prepare_or_resume(self.candidate(job.learning_rate), observer)?;
                match training.pause_after(steps).run(observer, stop) {
                    Err(error @ TrainError::Diverged { .. }) => Measured::Diverged(first_line(&error)),
                    Err(error) => return Err(error.into()),
                    Ok(End::Stopped { step, .. }) if step < steps => return Ok(JobEnd::Stopped),
                    Ok(_) => measured(&run, steps, self.config.tasks.len())?,
                }
            }
        };
        let (learning_rate, trial) = (job.learning_rate, measured.clone());
        self.state.trials.push(Trial { learning_rate, rung: steps, measured: trial });
        self.state.write(&self.folder)?;
        Ok(JobEnd::Measured(measured))
    }

    /// Whether a run has an evaluation at the end of the rung, or has ended before it.
    fn has_reached(&self, run: &Path, steps: u64) -> Result<bool, TuneError> {
        if !Run::exists(run) {
            return Ok(false);
        }
        if has_ended(run)? {
            return Ok(true);
        }
        let is_last = steps == self.config.training.steps;
        let last = Run::open(run)?.checkpoint(Which::Last).map_or(0, |last| last.step);
        Ok(!is_last && last >= steps)
    }

    /// The configuration of a candidate.
    fn candidate(&self, rate: f64) -> Config {
        let mut config = self.config.clone();
        config.runs = self.folder.clone();
        config.name = Some(name(rate));
        config.training.learning_rate = rate;
        config
    }

    /// The folder of a candidate's run.
    pub fn run_folder(&self, rate: f64) -> PathBuf {
        self.folder.join(name(rate))
    }

    /// The candidates of a rung, in the order in which they were given; empty if the rung before it is not complete.
    pub(super) fn entrants(&self, rung: usize) -> Vec<f64> {
        match rung {
            0 => self.rates.clone(),
            _ => self.kept(rung - 1),
        }
    }

    /// The candidates that a rung keeps; empty if it is not complete.
    pub(super) fn kept(&self, rung: usize) -> Vec<f64> {
        let entrants = self.entrants(rung);
        let measured = entrants.iter().map(|rate| Some((*rate, &self.trial(rung, *rate)?.measured)));
        measured.collect::<Option<Vec<_>>>().map_or(Vec::new(), |all| best(&all, self.rungs[rung].keep))
    }

    /// What a rung has measured of a candidate.
    pub(super) fn trial(&self, rung: usize, rate: f64) -> Option<&Trial> {
        let end = self.rungs[rung].steps;
        self.state.trials.iter().find(|trial| trial.rung == end && trial.learning_rate == rate)
    }
}

/// The learning rates of the `keep` best candidates, in the order of `candidates`: those with the highest F1, of equal ones those
/// with the lowest loss, and then the first ones.
fn best(candidates: &[(f64, &Measured)], keep: usize) -> Vec<f64> {
    let scores = |(place, (_, measured)): (usize, &(f64, &Measured))| match measured {
        Measured::Scores { validation_loss, validation_f1, .. } => {
            Some((place, *validation_loss, *validation_f1))
        }
        Measured::Diverged(_) => None,
    };
    let mut ranked: Vec<(usize, f64, f64)> = candidates.iter().enumerate().filter_map(scores).collect();
    // The sort is stable.
    ranked.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.total_cmp(&b.1)));
    ranked.truncate(keep);
    ranked.sort_by_key(|(place, ..)| *place);
    ranked.into_iter().map(|(place, ..)| candidates[place].0).collect()
}

/// The name of a candidate's run, such as `3e-4`.
fn name(rate: f64) -> String {
    format!("{rate:e}")
}

fn first_line(error: &TrainError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Checks that the settings of a search are in range.
fn check(rates: &[f64], eta: usize) -> Result<(), TuneError> {
    let fail = |field: &str, value: String, expected: &'static str| {
        Err(ConfigError::Value { field: field.to_owned(), value, expected: expected.into() }.into())
    };
    if let Some(rate) = rates.iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
        return fail("learning_rates", format!("`{rate:e}`"), "numbers above 0");
    }
    let again = |(at, rate): (usize, &f64)| rates[..at].contains(rate).then_some(*rate);
    if let Some(rate) = rates.iter().enumerate().find_map(again) {
        return fail("learning_rates", format!("`{rate:e}` twice"), "different numbers");
    }
    if rates.len() < 2 {
        return Err(TuneError::TooFew(rates.to_vec()));
    }
    if eta < 2 {
        return fail("eta", eta.to_string(), "at least 2");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_have_the_highest_f1_then_the_lowest_loss_and_keep_their_order() {
        let scores =
            |validation_loss, validation_f1| Measured::Scores { step: 1, validation_loss, validation_f1 };
        let all = [
            scores(1.0, 0.0),
            scores(2.0, 0.5),
            Measured::Diverged("loss".into()),
            scores(0.5, 0.0),
            scores(0.5, 0.0),
        ];
        let all: Vec<(f64, &Measured)> = [0.1, 0.2, 0.3, 0.4, 0.5].into_iter().zip(&all).collect();
        assert_eq!(best(&all, 1), [0.2]);
        assert_eq!(best(&all, 2), [0.2, 0.4]);
        assert_eq!(best(&all, 3), [0.2, 0.4, 0.5]);
        assert_eq!(best(&all, 9), [0.1, 0.2, 0.4, 0.5]);
        assert_eq!(best(&all[2..3], 1), [0.0; 0]);
    }
}
