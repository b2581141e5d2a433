//! `hl-train compare`: methods x fractions x seeds, trained one after the other, and the tables of the paper.
//!
//! The folder of a comparison (`out`) has `methods.toml`, `runs/METHOD/FRACTION/SEED`, and the tables. `methods.toml` has the
//! configuration of each method, so that runs of another comparison are refused. The runs are ordinary run folders with
//! an additional `scores.json`. A run is finished if it has this file, which is written last.
//!
//! - [`Plan`] (`plan`): what is compared; `file` and `method` read it from the compare file.
//! - `folder`: the folder and the record of its methods.
//! - `run`: training and scoring a run.
//! - [`Results`] (`results`): the scores of all finished runs, with means over seeds.
//! - `significance`: paired bootstrap tests.
//! - [`Report`] (`report`): all results; `tables`, `csv` and `figure` format them, `format` has their helpers.
//! - [`CompareError`] (`error`).

mod csv;
mod error;
mod figure;
mod file;
mod folder;
mod format;
mod method;
mod plan;
mod report;
mod results;
mod run;
mod significance;
mod tables;

pub use self::error::CompareError;
pub use self::folder::METHODS;
pub(crate) use self::format::{MISSING, markdown};
pub use self::plan::{Budget, Cell, Plan, PlannedMethod};
pub use self::report::{Report, write};
pub use self::results::{Mean, Parameters, Results, Row, Scores, TaskScores};
pub use self::run::CellEnd;
pub use self::significance::{Significance, test_all};
