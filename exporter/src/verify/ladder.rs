//! The comparisons of a verification, and whether they hold.

use std::fmt;

use hyperloader_core::format::proof::Best;
use serde::Serialize;

use super::answers::{Answers, Choices};
use super::tolerance::{Tolerance, largest_magnitude};

/// Requirement on two neighbors on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// Logits within the tolerance, and the same best ids wherever the margin exceeds the tolerance.
    Equal,
    /// Logits within the tolerance plus this difference.
    Within(f64),
    /// Finite logits: the two are different models, and their difference is only reported.
    Finite,
}

impl Demand {
    /// What is added to the tolerance.
    pub(crate) fn more(self) -> f64 {
        if let Self::Within(more) = self { more } else { 0.0 }
    }
}

/// A comparison of two neighbors on the ladder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    /// Name of the first implementation.
    pub from: String,
    /// Name of the second implementation.
    pub to: String,
    /// Largest absolute difference of two logits; infinite if one is NaN.
    pub difference: f64,
    /// Largest ratio of a difference to the limit of its row: at most 1 if all logits are within the limits.
    pub share: f64,
    /// Number of sentences whose best ids all equal those of the un-folded model.
    pub equal: usize,
    /// Number of sentences whose best ids differ only where the margin of the un-folded model is within the limit.
    pub near_ties: usize,
    /// Requirement on the two.
    pub demand: Demand,
}

/// A backend that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRun {
    /// Name of the backend.
    pub backend: String,
    /// Why it was not run.
    pub reason: String,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ladder {
    /// Comparisons, from the un-folded model to the last backend.
    pub rungs: Vec<Rung>,
    /// Backends that were not run.
    pub not_run: Vec<NotRun>,
    /// Tolerated difference of two logits.
    pub tolerance: Tolerance,
    /// Largest magnitude of the un-folded model's logits.
    pub largest_logit: f64,
    /// Smallest difference between the best and the second-best logit among the rows whose best ids are compared.
    pub smallest_margin: f64,
    /// Number of sentences that were run.
    pub sentences: usize,
    /// Name of the ids that are compared for each sentence: `greedy ids` or `tags`.
    pub chosen: &'static str,
    /// Whether at least one backend ran the written file.
    pub file_was_run: bool,
}

impl Rung {
    /// Whether the logits differ by no more than they may.
    pub(crate) fn is_close(&self) -> bool {
        match self.demand {
            Demand::Equal | Demand::Within(_) => self.share <= 1.0,
            Demand::Finite => self.difference.is_finite(),
        }
    }

    fn holds(&self, sentences: usize) -> bool {
        self.is_close() && (self.demand != Demand::Equal || self.equal + self.near_ties == sentences)
    }
}

impl Ladder {
    /// Whether every comparison shows what it must.
    pub fn holds(&self) -> bool {
        self.rungs.iter().all(|rung| rung.holds(self.sentences))
    }
}

impl fmt::Display for Ladder {
    /// One line for each comparison, one for each backend that was not run, and one for the tolerance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = |rung: &Rung| format!("{} vs {}", rung.from, rung.to);
        let width = self.rungs.iter().map(|rung| title(rung).len()).max().unwrap_or(0);
        for rung in &self.rungs {
            let verdict = match rung.holds(self.sentences) {
                true if rung.demand == Demand::Finite => format!("the difference that {} makes", rung.to),
                true => "ok".to_owned(),
                false => "FAILED".to_owned(),
            };
            write!(f, "{:width$}  logits differ by {:.1e}", title(rung), rung.difference)?;
            if rung.demand != Demand::Finite {
                write!(f, " ({:.0} % of the limit)", 100.0 * rung.share)?;
            }
            write!(f, ", {} equal in {} of {}", self.chosen, rung.equal, self.sentences)?;
            if rung.near_ties > 0 {
                write!(f, ", near ties in {}", rung.near_ties)?;
            }
            writeln!(f, ": {verdict}")?;
        }
        for NotRun { backend, reason } in &self.not_run {
            writeln!(f, "{backend} was not run: {reason}")?;
        }
        write!(
            f,
            "tolerance {}; largest logit {:.1e}, smallest margin {:.1e}",
            self.tolerance, self.largest_logit, self.smallest_margin
        )
    }
}

/// Compares implementations with each other and with the choices of the un-folded model.
#[derive(Debug)]
pub(crate) struct Comparison {
    tolerance: Tolerance,
    what: &'static str,
    pass: usize,
    /// The compared rows, sentence by sentence.
    rows: Vec<Vec<Chosen>>,
    largest_logit: f64,
}

/// The choice of the un-folded model in a row.
#[derive(Debug)]
struct Chosen {
    row: usize,
    best: Best,
    /// Tolerated difference of two logits of the row.
    limit: f64,
}

impl Comparison {
    /// Compares with the choices that `un_folded` makes in the rows of `choices`.
    pub(crate) fn new(tolerance: Tolerance, un_folded: &Answers, choices: &Choices) -> Self {
        let chosen = |row: &usize| {
            let logits = un_folded.logits[choices.pass].row(*row);
            Chosen { row: *row, best: Best::of(logits.iter().copied()), limit: tolerance.limit(&logits) }
        };
        let rows = un_folded.logits.iter().flat_map(|logits| logits.outer_iter());
        Self {
            tolerance,
            what: choices.what,
            pass: choices.pass,
            largest_logit: rows.map(|row| largest_magnitude(&row)).fold(0.0, f64::max),
            rows: choices.rows.iter().map(|rows| rows.iter().map(chosen).collect()).collect(),
        }
    }

    /// Compares two neighbors on the ladder.
    pub(crate) fn rung(&self, from: &Answers, to: &Answers, demand: Demand) -> Rung {
        let (mut difference, mut share) = (0.0_f64, 0.0_f64);
        for (from, to) in from.logits.iter().zip(&to.logits) {
            if from.dim() != to.dim() {
                (difference, share) = (f64::INFINITY, f64::INFINITY);
                continue;
            }
            for (from, to) in from.outer_iter().zip(to.outer_iter()) {
                let differences = from.iter().zip(to).map(|(from, to)| (from - to).abs());
                let largest =
                    differences.fold(0.0, |most, d| if d.is_nan() { f64::INFINITY } else { d.max(most) });
                difference = difference.max(largest);
                share = share.max(largest / (self.tolerance.limit(&from) + demand.more()));
            }
        }
        let (mut equal, mut near_ties) = (0, 0);
        for rows in &self.rows {
            let differing = || rows.iter().filter(|chosen| !chosen.is_best_of(to, self.pass));
            if differing().next().is_none() {
                equal += 1;
            } else if differing().all(|chosen| chosen.best.margin <= chosen.limit) {
                near_ties += 1;
            }
        }
        let (from, to) = (from.name.clone(), to.name.clone());
        Rung { from, to, difference, share, equal, near_ties, demand }
    }

    /// The result of a verification with these comparisons.
    pub(crate) fn ladder(&self, rungs: Vec<Rung>, not_run: Vec<NotRun>, file_was_run: bool) -> Ladder {
        let margins = self.rows.iter().flatten().map(|chosen| chosen.best.margin);
        Ladder {
            rungs,
            not_run,
            tolerance: self.tolerance,
            largest_logit: self.largest_logit,
            smallest_margin: margins.fold(f64::INFINITY, f64::min),
            sentences: self.rows.len(),
            chosen: self.what,
            file_was_run,
        }
    }
}

impl Chosen {
    /// Whether `answers` has the same best id in this row. A row that is missing has none.
    fn is_best_of(&self, answers: &Answers, pass: usize) -> bool {
        let logits = answers.logits.get(pass).filter(|logits| self.row < logits.nrows());
        logits.is_some_and(|logits| Best::of(logits.row(self.row).iter().copied()).id == self.best.id)
    }
}
