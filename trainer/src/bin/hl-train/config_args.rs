//! Options that make the configuration of a training.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyperloader_core::corpus::{LabelPreset, Labels, known};
use hyperloader_core::method::variant;
use hyperloader_trainer::config::Config;

use crate::shared::{known_corpora, label_presets, method_names};

/// The configuration of a training: a file, and values that override those of the file.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration; its paths are relative to its folder
    #[arg(long, value_name = "FILE", default_value = "hyperloader.toml")]
    pub(crate) config: PathBuf,

    /// Pretrained model: a folder in Hugging Face's layout, or the id of a model of its hub, such as `t5-base` [default:
    /// the configuration's]
    #[arg(long, value_name = "DIR|ID")]
    backbone: Option<String>,

    /// Method, with its published hyper-parameters [default: the configuration's `[method]`]
    #[arg(long, value_name = "NAME", value_parser = method_names())]
    method: Option<String>,

    /// Hyper-parameter of the method, such as `reduction_factor=8` or `lora.rank=4` [default: the method's]; can be
    /// repeated
    #[arg(long, value_name = "KEY=VALUE")]
    method_option: Vec<String>,

    /// Folder of the paper's corpora to train on [default: the configuration's tasks]
    #[arg(long, value_name = "DIR", value_parser = known_corpora())]
    data: Option<PathBuf>,

    /// Tasks to train [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    tasks: Vec<String>,

    /// Labels of all tasks [default: the configuration's; with `--data`, the preset's or `plain`]
    #[arg(long, value_name = "PRESET", value_parser = label_presets())]
    labels: Option<LabelPreset>,

    /// Fraction of the training and validation sentences to use, such as 0.1 [default: the configuration's, else 1]
    #[arg(long, value_name = "FRACTION")]
    fraction: Option<f64>,

    /// Number of updates [default: the configuration's]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,

    /// Sentences per update [default: the configuration's]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,

    /// Parts of a batch, which several processes under `mpirun` share; any number of them writes the same bytes [default:
    /// the configuration's]
    #[arg(long, value_name = "N")]
    parts: Option<usize>,

    /// Updates between two evaluations [default: the configuration's]
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,

    /// Seed of initialization, sampling and dropout [default: the configuration's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Make runs on one GPU repeatable bit for bit, at some cost in speed; on the CPU they always are
    #[arg(long)]
    deterministic: bool,
}

impl ConfigArgs {
    /// The configuration of the file with the values that were typed.
    pub(crate) fn read(&self) -> Result<Config> {
        let mut config = Config::from_file(&self.config)?;
        self.override_values(&mut config);
        if let Some(backbone) = &self.backbone {
            config.backbone.choose(backbone)?;
        }
        self.choose_method(&mut config)?;
        self.choose_tasks(&mut config)?;
        Ok(config)
    }

    fn override_values(&self, config: &mut Config) {
        let training = &mut config.training;
        put(&mut config.seed, &self.seed);
        put(&mut training.fraction, &self.fraction);
        put(&mut training.steps, &self.steps);
        put(&mut training.batch_size, &self.batch_size);
        put(&mut training.parts, &self.parts);
        put(&mut training.evaluate_every, &self.evaluate_every);
        training.deterministic |= self.deterministic;
    }

    fn choose_method(&self, config: &mut Config) -> Result<()> {
        if let Some(method) = self.method.as_deref().and_then(variant) {
            config.method = method;
        }
        for option in &self.method_option {
            config.set_method_option(option)?;
        }
        Ok(())
    }

    fn choose_tasks(&self, config: &mut Config) -> Result<()> {
        if let Some(folder) = &self.data {
            config.tasks = known::in_folder(folder)?.into_iter().collect();
            if let Some(preset) = config.preset {
                let labels = Labels::Preset(preset.labels());
                config.tasks.values_mut().for_each(|spec| spec.labels = labels.clone());
            }
        }
        if !self.tasks.is_empty() {
            config.keep_tasks(&self.tasks)?;
        }
        if let Some(labels) = self.labels {
            config.tasks.values_mut().for_each(|spec| spec.labels = Labels::Preset(labels));
        }
        Ok(())
    }
}

/// Overrides a value with the one that was typed, if there is one.
pub(crate) fn put<T: Clone>(target: &mut T, typed: &Option<T>) {
    if let Some(value) = typed {
        *target = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn every_example_of_the_help_names_hyper_parameters_that_its_method_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[backbone]\npath = \"b\"\n").unwrap();
        let mut options = 0;
        for example in hyperloader_cli::examples::examples::<Args>() {
            let args = Args::try_parse_from(&example).unwrap();
            let chosen = match args.command {
                Some(Command::Tune(tune)) => tune.config,
                Some(_) => continue,
                None => args.train.config,
            };
            chosen.choose_method(&mut Config::from_file(&path).unwrap()).unwrap();
            options += chosen.method_option.len();
        }
        assert!(options > 0);
    }
}
