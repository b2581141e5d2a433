//! `unipelt-bert`: a task's token classifier as a graph of its own, with the gates computed inside and the prefix written down.

pub mod graph;
pub mod model;
pub mod reference;
mod verify;
