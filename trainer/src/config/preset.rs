//! Named sets of configuration values. The values of a configuration override them.

use hyperloader_core::corpus::LabelPreset;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// A named set of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What the authors of HyperLoader ran, labels included (docs/reference/training.md,
    /// docs/reference/decisions.md#switches).
    HyperloaderPaper,
}

impl Preset {
    fn text(self) -> &'static str {
        match self {
            Self::HyperloaderPaper => include_str!("../../presets/hyperloader-paper.toml"),
        }
    }

    /// How its tasks spell labels.
    pub fn labels(self) -> LabelPreset {
        match self {
            Self::HyperloaderPaper => LabelPreset::Reference,
        }
    }

    /// `config` with the values of this preset for the keys that it does not set. A configuration of another method than the
    /// preset's gets none of its hyper-parameters.
    ///
    /// # Errors
    /// If the preset is not valid TOML, which a test excludes.
    pub fn under(self, mut config: Table) -> Result<Table, toml::de::Error> {
        let mut values: Table = self.text().parse()?;
        let method = |table: &Table| table.get("method")?.get("method").cloned();
        if method(&config).is_some_and(|ours| method(&values) != Some(ours)) {
            values.remove("method");
        }
        fill(&mut config, values);
        if let Some(Value::Table(tasks)) = config.get_mut("task") {
            for task in tasks.iter_mut().filter_map(|(_, task)| task.as_table_mut()) {
                if !task.contains_key("labels") {
                    let labels = Value::try_from(self.labels()).map_err(toml::de::Error::custom)?;
                    task.insert("labels".to_owned(), labels);
                }
            }
        }
        Ok(config)
    }
}

/// Adds the keys of `values` that `target` does not have.
pub(crate) fn fill(target: &mut Table, values: Table) {
    for (key, value) in values {
        match (target.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(values)) => fill(table, values),
            (Some(_), _) => {}
            (None, value) => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::method::{MethodConfig, variant};
    use hyperloader_core::weights::task::Activation;

    use crate::config::Config;
    use crate::optimizer::AbsentGradient;

    const USER: &str = "preset = \"hyperloader-paper\"\n[backbone]\npath = \"b\"\n[training]\nbatch_size = 32\n\
        [task.a]\nlayout = \"mtop\"\ntrain = \"t\"\ntest = \"t\"\n\
        [task.b]\nlayout = \"mtop\"\ntrain = \"t\"\ntest = \"t\"\nlabels = \"plain\"\n";

    #[test]
    fn a_preset_sets_the_keys_that_a_configuration_does_not_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, USER).unwrap();
        let config = Config::from_file(&path).unwrap();
        let t = &config.training;
        assert_eq!((t.batch_size, t.steps, t.absent_gradient), (32, 65_536, AbsentGradient::Decay));
        assert!(config.backbone.cross_attention_relative_bias);
        let labels: Vec<String> = config.tasks.values().map(|task| toml::to_string(task).unwrap()).collect();
        assert!(labels[0].contains("labels = \"reference\"") && labels[1].contains("labels = \"plain\""));
        // The copy in a run folder is complete without the preset.
        assert!(!toml::to_string(&config).unwrap().contains("preset"));
        std::fs::write(&path, format!("{USER}[method]\nmethod = \"adapters\"\n")).unwrap();
        assert_eq!(Some(Config::from_file(&path).unwrap().method), variant("adapters"));
    }

    #[test]
    fn method_options_are_set_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, USER).unwrap();
        let mut config = Config::from_file(&path).unwrap();
        config.method = variant("unipelt").unwrap();
        for option in ["reduction_factor=8", "lora.rank=4", "activation=relu"] {
            config.set_method_option(option).unwrap();
        }
        let MethodConfig::Modules(modules) = &config.method else { panic!("{:?}", config.method) };
        let lora = modules.lora.clone().unwrap();
        assert_eq!((modules.reduction_factor, lora.rank, lora.alpha), (Some(8), 4, 8.0));
        assert_eq!(modules.activation, Some(Activation::Relu));
        let mut error = |option: &str| config.set_method_option(option).unwrap_err().to_string();
        assert_eq!(error("rank"), "`rank` for method `unipelt`: expected `KEY=VALUE`");
        let unknown = error("reduction_facto=4");
        assert!(unknown.starts_with("`reduction_facto=4` for method `unipelt`: unknown field"), "{unknown}");
        assert!(unknown.ends_with("hint: did you mean `reduction_factor`?"), "{unknown}");
        let mistyped = error("reduction_factor=much");
        assert!(mistyped.contains("invalid type: string \"much\", expected usize"), "{mistyped}");
    }
}
