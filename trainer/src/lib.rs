//! hl-train: trains multi-task T5 taggers with libtorch

pub mod analysis;
pub mod bert;
pub mod coding;
pub mod compare;
pub mod config;
pub mod corpora;
pub mod data;
pub mod device;
pub mod drafter;
pub mod evaluate;
pub mod hub;
pub mod learner;
pub mod loss;
pub mod methods;
pub mod model;
pub mod optimizer;
pub mod parameters;
pub mod params;
pub mod preset;
pub mod report;
pub mod sampler;
pub mod schedule;
pub mod smoothing;
pub mod train;
