//! `hl-train tune`: the best of several learning rates by successive halving (Jamieson and Talwalkar 2016).
//!
//! All candidates are trained to the first rung; the best share goes on to the next, until one is trained to the last step.
//! A candidate is an ordinary run, whose learning rate follows the schedule of the whole training from the start. A rung
//! pauses it at an evaluation, so the files of the best run are those of a training with its learning rate alone.
//!
//! The folder of a search has `tune.toml`, with the settings of the search and what its rungs measured, and a run for each
//! candidate, named after its learning rate. A search that is interrupted continues from these.
//!
//! - [`Rung`] (`rungs`): how far candidates are trained, and how many go on.
//! - [`Trial`] (`trial`): what a rung measured of a candidate; read from the log of its run.
//! - [`Search`] (`search`): the candidates, what is to be trained next, and its training.
//! - `state`: the file `tune.toml`.
//! - [`Report`] (`report`): the results.
//! - [`TuneError`] (`error`).

mod error;
mod report;
mod rungs;
mod search;
mod state;
mod trial;

pub use self::error::TuneError;
pub use self::report::{Best, Candidate, Report, RungReport, Verdict};
pub use self::rungs::Rung;
pub use self::search::{Job, JobEnd, Search};
pub use self::state::STATE;
pub use self::trial::{Measured, Trial};
