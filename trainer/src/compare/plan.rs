//! A comparison: methods, fractions and seeds, and the runs that they make.

use std::path::{Path, PathBuf};

use hyperloader_core::device::Device;
use serde::{Deserialize, Serialize};

use crate::config::{Config, STREAMS};

/// The folder of all runs in the folder of a comparison.
pub(super) const RUNS: &str = "runs";

/// How long each method is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// All methods see the same number of samples: `steps` times `batch_size`.
    #[default]
    Equal,
    /// Each method has the batch size and the number of updates of its publication.
    Published,
}

/// A comparison: methods, fractions and seeds.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The folder of runs, tables and figure.
    pub out: PathBuf,
    /// The methods, in the order of the tables.
    pub methods: Vec<PlannedMethod>,
    /// The shares of the training and validation sentences, ascending.
    pub fractions: Vec<f64>,
    /// The seeds of the runs of each method and fraction.
    pub seeds: Vec<u64>,
    /// How long each method is trained.
    pub budget: Budget,
    /// The number of resamples of a significance test.
    pub resamples: usize,
    /// Keys of the base that have no effect, as messages.
    pub warnings: Vec<String>,
}

/// A method of a comparison.
#[derive(Debug, Clone)]
pub struct PlannedMethod {
    /// The name in tables and folders.
    pub label: String,
    /// The name of the variant on the command line.
    pub name: String,
    /// The configuration of its runs, without fraction and seed.
    pub config: Config,
}

/// One run of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Method with its settings.
    pub method: &'a PlannedMethod,
    /// The share of the training and validation sentences.
    pub fraction: f64,
    /// Seed of data order, dropout and initialization.
    pub seed: u64,
}

impl Plan {
    /// The names of the tasks, in the order of the tables.
    pub fn tasks(&self) -> Vec<&str> {
        let first = self.methods.first();
        first.into_iter().flat_map(|method| method.config.tasks.keys().map(String::as_str)).collect()
    }

    /// All runs. Those of one seed come first, so that the first runs already compare all methods.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for &fraction in &self.fractions {
                cells.extend(self.methods.iter().map(|method| Cell { method, fraction, seed }));
            }
        }
        cells
    }

    /// Overrides the device and the number of threads of all runs. These do not change results.
    pub fn run_on(&mut self, device: Option<Device>, threads: Option<usize>) {
        for method in &mut self.methods {
            let training = &mut method.config.training;
            if let Some(device) = device {
                training.device = device;
            }
            training.threads = threads.or(training.threads);
        }
    }
}

/// Whether the variant `name` is HyperLoader or one of its ablations.
pub(super) fn is_hyperloader(name: &str) -> bool {
    name == "hyperloader" || name.starts_with("hyperloader-")
}

/// The number of samples of a training: updates times sentences per update.
pub(super) fn samples(config: &Config) -> u64 {
    config.training.steps.saturating_mul(config.training.batch_size as u64)
}

impl Cell<'_> {
    /// The folder of the run.
    pub fn folder(&self, out: &Path) -> PathBuf {
        self.runs(out).join(self.seed.to_string())
    }

    fn runs(&self, out: &Path) -> PathBuf {
        out.join(RUNS).join(&self.method.label).join(self.fraction.to_string())
    }

    /// The configuration of the run.
    pub fn config(&self, out: &Path) -> Config {
        let mut config = self.method.config.clone();
        config.runs = self.runs(out);
        // One store for all methods and seeds, not one in each folder of runs.
        config.streams.get_or_insert_with(|| out.join(RUNS).join(STREAMS));
        config.name = Some(self.seed.to_string());
        config.seed = self.seed;
        config.training.fraction = self.fraction;
        config
    }
}

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, fraction, seed } = self;
        write!(f, "`{}`, fraction {fraction}, seed {seed}", method.label)
    }
}
