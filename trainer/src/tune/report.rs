//! The results of a search.

use std::path::PathBuf;

use serde::Serialize;

use super::error::TuneError;
use super::search::Search;
use super::trial::Measured;
use crate::compare::{MISSING, markdown};
use crate::record::CONFIG;

/// The results of a search.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The best learning rate; absent until the search is over.
    pub best: Option<Best>,
    /// What each rung measured, as far as it was trained.
    pub rungs: Vec<RungReport>,
    /// The rungs as a Markdown table.
    #[serde(skip)]
    pub markdown: String,
}

/// The best candidate, trained to the last step.
#[derive(Debug, Clone, Serialize)]
pub struct Best {
    /// Its learning rate.
    pub learning_rate: f64,
    /// The folder of its run.
    pub run: PathBuf,
    /// The configuration that it was trained with.
    pub config: PathBuf,
}

/// The results of a rung.
#[derive(Debug, Clone, Serialize)]
pub struct RungReport {
    /// The step at which it ends.
    pub steps: u64,
    /// Its candidates, in the order in which they were given.
    pub candidates: Vec<Candidate>,
}

/// The result of a candidate in a rung.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its learning rate.
    pub learning_rate: f64,
    /// The step of its best checkpoint so far.
    pub step: Option<u64>,
    /// The label-smoothed validation loss of that checkpoint in nats per target token, a mean over the tasks.
    pub validation_loss: Option<f64>,
    /// Its span F1 on the validation splits, a mean over the tasks, from 0 to 1.
    pub validation_f1: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What becomes of a candidate after a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes on.
    Kept,
    /// Others are better.
    Out,
    /// Its loss or its gradient is not finite.
    Diverged,
    /// It is the best one of the last rung.
    Best,
    /// Its rung is not over.
    Open,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Out => "out",
            Self::Diverged => "diverged",
            Self::Best => "best",
            Self::Open => MISSING,
        }
    }
}

impl Search {
    /// The results so far.
    pub fn report(&self) -> Report {
        let rungs: Vec<RungReport> = (0..self.rungs.len()).map(|rung| self.rung_report(rung)).collect();
        let rungs: Vec<RungReport> = rungs.into_iter().filter(|rung| !rung.candidates.is_empty()).collect();
        let best = self.kept(self.rungs.len() - 1).first().map(|&learning_rate| {
            let run = self.run_folder(learning_rate);
            Best { learning_rate, config: run.join(CONFIG), run }
        });
        Report { best, markdown: table(&rungs), rungs }
    }

    /// The error of a search that is over without a best candidate.
    pub fn failure(&self) -> TuneError {
        let last = (0..self.rungs.len()).rev().find(|rung| !self.entrants(*rung).is_empty()).unwrap_or(0);
        TuneError::AllDiverged { rates: self.entrants(last), steps: self.rungs[last].steps }
    }

    fn rung_report(&self, rung: usize) -> RungReport {
        let kept = self.kept(rung);
        let entrants = self.entrants(rung);
        let is_over = entrants.iter().all(|rate| self.trial(rung, *rate).is_some());
        let is_last = rung + 1 == self.rungs.len();
        let candidate = |&learning_rate: &f64| {
            let (scores, verdict) = match &self.trial(rung, learning_rate)?.measured {
                Measured::Diverged(_) => (None, Verdict::Diverged),
                Measured::Scores { step, validation_loss, validation_f1 } => {
                    let verdict = match kept.contains(&learning_rate) {
                        true if is_last => Verdict::Best,
                        true => Verdict::Kept,
                        false if is_over => Verdict::Out,
                        false => Verdict::Open,
                    };
                    (Some((*step, *validation_loss, *validation_f1)), verdict)
                }
            };
            Some(Candidate {
                learning_rate,
                step: scores.map(|(step, ..)| step),
                validation_loss: scores.map(|(_, loss, _)| loss),
                validation_f1: scores.map(|(.., f1)| f1),
                verdict,
            })
        };
        RungReport {
            steps: self.rungs[rung].steps,
            candidates: entrants.iter().filter_map(candidate).collect(),
        }
    }
}

/// A row for each candidate of each rung.
fn table(rungs: &[RungReport]) -> String {
    let number = |value: Option<f64>| value.map_or(MISSING.to_owned(), |value| format!("{value:.4}"));
    let row = |steps: u64, candidate: &Candidate| {
        vec![
            format!("{:e}", candidate.learning_rate),
            steps.to_string(),
            candidate.step.map_or(MISSING.to_owned(), |step| step.to_string()),
            number(candidate.validation_loss),
            number(candidate.validation_f1),
            candidate.verdict.text().to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = rungs
        .iter()
        .flat_map(|rung| rung.candidates.iter().map(|candidate| row(rung.steps, candidate)))
        .collect();
    let header = ["learning rate", "steps", "best step", "validation loss", "validation F1", "result"];
    markdown(&header, &rows)
}
