//! The methods of a compare file.

use std::path::Path;

use hyperloader_core::method::{Variant, variants};
use hyperloader_core::suggest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::plan::{Budget, Plan, PlannedMethod, is_hyperloader, samples};
use crate::config::preset::fill;
use crate::config::{BackboneConfig, Config, did_you_mean, is_folder_name};

/// A method of a compare file: a variant with changed values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MethodEntry {
    name: String,
    label: Option<String>,
    #[serde(default)]
    method: Table,
    #[serde(default)]
    training: Table,
    backbone: Option<BackboneConfig>,
}

impl MethodEntry {
    /// The variant of this name without changes.
    pub(super) fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

/// The method that `entry` describes, on `base`; `plan` has the methods before it.
pub(super) fn planned(
    plan: &Plan,
    entry: MethodEntry,
    base: &Config,
    folder: &Path,
) -> Result<PlannedMethod, String> {
    let MethodEntry { name, label, method, training, backbone } = entry;
    let label = label.unwrap_or_else(|| name.clone());
    let variant = resolve(&name)?;
    let problem = |problem: String| format!("method `{label}`: {problem}");
    if !is_folder_name(&label) {
        return Err(problem("its label must be a folder name: not empty, no `/`, not `.` or `..`".into()));
    }
    if plan.methods.iter().any(|other| other.label == label) {
        return Err(problem("another method has the same label\nhint: give it a different `label`".into()));
    }
    for (table, field, instead) in
        [(&method, "method", "`name` sets it"), (&training, "fraction", "`fractions` sets it")]
    {
        if table.contains_key(field) {
            return Err(problem(format!("`{field}` cannot be overridden: {instead}")));
        }
    }
    let mut config = base.clone();
    // The runs are evaluated, not exported, so they need no drafter and no calibration.
    config.training.drafter = false;
    config.training.calibrate = false;
    config.method = merged(&variant.config, &method).map_err(problem)?;
    if plan.budget == Budget::Published {
        let published = published_budget(&name);
        if published.is_none() && !["steps", "batch_size"].iter().all(|field| training.contains_key(*field)) {
            return Err(problem(format!(
                "the published budget of `{name}` is not known\nhint: set it with `training = {{ steps = ..., batch_size = ... }}`"
            )));
        }
        (config.training.batch_size, config.training.steps) =
            published.unwrap_or((config.training.batch_size, config.training.steps));
    }
    config.training = merged(&config.training, &training).map_err(problem)?;
    if let Some(backbone) = backbone {
        config.backbone = backbone;
        config.backbone.path = config.backbone.path.map(|path| folder.join(path));
    }
    config.validate().map_err(|e| problem(e.to_string()))?;
    let (ours, all) = (samples(&config), samples(base));
    if plan.budget == Budget::Equal && ours != all {
        let [own, common] = [&config, base].map(|c| (c.training.steps, c.training.batch_size));
        return Err(problem(format!(
            "{} steps of {} sentences are {ours} samples, the base's {} of {} are {all}\nhint: `budget = \"equal\"` needs equal numbers of samples; use `budget = \"published\"` for different ones",
            own.0, own.1, common.0, common.1
        )));
    }
    Ok(PlannedMethod { label, name, config })
}

/// The variant of this name.
fn resolve(name: &str) -> Result<Variant, String> {
    let known: Vec<Variant> = variants();
    known.iter().find(|variant| variant.name == name).cloned().ok_or_else(|| {
        let names = known.iter().map(|variant| variant.name);
        let list: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
        format!("unknown method `{name}`, expected one of {}{}", list.join(", "), suggest::hint(name, names))
    })
}

/// The batch size and the number of updates behind the published scores of a method, if they are known
/// (docs/reference/paper-and-code.md#what-ran, docs/reference/baselines.md#hyperdecoder).
fn published_budget(name: &str) -> Option<(usize, u64)> {
    match name {
        "hyperformer++" => Some((32, 65_536)),
        "hyperdecoder" => Some((128, 65_536)),
        _ => is_hyperloader(name).then_some((128, 65_536)),
    }
}

/// `value` with the values of `overrides`.
fn merged<T: Serialize + DeserializeOwned>(value: &T, overrides: &Table) -> Result<T, String> {
    let mut table = overrides.clone();
    fill(&mut table, Table::try_from(value).map_err(|e| e.to_string())?);
    let unusable = |e: toml::de::Error| format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message()));
    table.try_into().map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_known_for_hyperloader_and_its_closest_baselines_only() {
        assert_eq!(published_budget("hyperformer++"), Some((32, 65_536)));
        assert_eq!(published_budget("hyperloader-8-lora"), Some((128, 65_536)));
        assert_eq!(published_budget("lora"), None);
    }
}
