//! Named sets of configuration values, below those that a configuration spells out.

use hyperloader_core::corpus::LabelPreset;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// A named set of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What the authors of HyperLoader ran (reference sections 3 and 6), labels included.
    HyperloaderPaper,
}

impl Preset {
    fn text(self) -> &'static str {
        match self {
            Self::HyperloaderPaper => include_str!("../presets/hyperloader-paper.toml"),
        }
    }

    /// The labels that its tasks learn.
    pub fn labels(self) -> LabelPreset {
        match self {
            Self::HyperloaderPaper => LabelPreset::Reference,
        }
    }

    /// `config` with this preset's values where it has none of its own. The preset's hyper-parameters are for its own
    /// method: a configuration of another one gets none of them.
    ///
    /// # Errors
    /// If the preset is no TOML, which a test excludes.
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

/// Adds what `target` lacks.
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
    fn a_preset_fills_in_what_a_configuration_leaves_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, USER).unwrap();
        let config = Config::from_file(&path).unwrap();
        let t = &config.training;
        assert_eq!((t.batch_size, t.steps, t.absent_gradient), (32, 65_536, AbsentGradient::Decay));
        assert!(config.backbone.cross_attention_relative_bias);
        let labels: Vec<String> = config.tasks.values().map(|task| toml::to_string(task).unwrap()).collect();
        assert!(labels[0].contains("labels = \"reference\"") && labels[1].contains("labels = \"plain\""));
        // What a run keeps is complete without the preset.
        assert!(!toml::to_string(&config).unwrap().contains("preset"));
        std::fs::write(&path, format!("{USER}[method]\nmethod = \"adapters\"\n")).unwrap();
        assert_eq!(Some(Config::from_file(&path).unwrap().method), variant("adapters"));
    }

    #[test]
    fn a_methods_options_are_set_one_by_one() {
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
