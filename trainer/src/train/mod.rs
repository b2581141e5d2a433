//! Training: sample, update, log, evaluate and save checkpoints; resume interrupted runs.
//!
//! A step depends only on the checkpoint before it and its own number: batches are drawn from the seed, and dropout is seeded
//! for each step. On the CPU, an interrupted and resumed run therefore gives the same bits as an uninterrupted one.
//!
//! With several processes, each computes some parts of each batch; process 0 alone writes and prints.
//!
//! - [`Training`] (`training`): the loop.
//! - `update`: one update of the parameters.
//! - `peers`: what the processes have in common.
//! - `handover`, `shared_tensors`: what process 0 reads from the run folder and sends to the others.
//! - `writer`: the writer of the run folder.
//! - `materials`: backbone, corpora and device, and the run folder.
//! - [`calibrate`] (`calibration`): the calibration of scores, made after training.
//! - `continued`: a training that is prepared once and resumed later.
//! - `warm_start`: a training that starts from the tensors of another run.
//! - `patience`: trainings that stop when evaluations no longer improve.
//! - `diagnosis`: results that point to a training that went wrong.
//! - `scores`: the scores of a split of all tasks.
//! - `drafters`: the drafters of a run, fitted after training.
//! - [`Observer`] (`observer`): progress; [`Unobserved`] ignores it.
//! - [`TrainError`] (`error`).

mod calibration;
mod continued;
mod diagnosis;
mod drafters;
mod error;
mod handover;
mod materials;
mod observer;
mod patience;
mod peers;
mod scores;
mod shared_tensors;
mod training;
mod update;
mod warm_start;
mod writer;

pub use self::calibration::calibrate;
pub use self::drafters::fit_drafters;
pub use self::error::{BatchName, TrainError};
pub use self::observer::{Observer, Unobserved};
pub use self::training::{End, Training};
pub use crate::record::{CONFIG, METRICS, OUTCOME, Outcome, Step};
