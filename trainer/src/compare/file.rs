//! The compare file: which methods are trained on which fractions with which seeds, and the base of all runs.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use hyperloader_core::corpus::{CorpusSpec, Labels};
use hyperloader_core::files::read_text;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::{Spanned, Table, Value};

use super::error::CompareError;
use super::method::{MethodEntry, planned};
use super::plan::{Budget, Plan};
use crate::config::{Config, ConfigError, did_you_mean};

/// The default number of resamples of a significance test, as Berg-Kirkpatrick et al. (2012) recommend.
const RESAMPLES: usize = 10_000;
/// Keys of a base that the compare file sets instead.
const UNUSED: [&str; 4] = ["method", "name", "runs", "seed"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareFile {
    base: TextOr<Config>,
    #[serde(default)]
    tasks: Vec<String>,
    methods: Vec<Spanned<TextOr<MethodEntry>>>,
    #[serde(default = "whole")]
    fractions: Vec<f64>,
    seeds: Vec<u64>,
    #[serde(default)]
    budget: Budget,
    #[serde(default = "default_resamples")]
    resamples: usize,
    #[serde(default = "default_out")]
    out: PathBuf,
}

/// A string, or a table with more values.
enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a string or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

fn whole() -> Vec<f64> {
    vec![1.0]
}

fn default_resamples() -> usize {
    RESAMPLES
}

fn default_out() -> PathBuf {
    "compare".into()
}

impl Plan {
    /// Reads a compare file. Paths in it are relative to its folder. `corpora` replace the tasks of the base.
    ///
    /// # Errors
    /// If a file is missing or has an unknown key, a method or task is unknown, or a value is out of range.
    pub fn from_file(path: &Path, corpora: Option<Vec<(String, CorpusSpec)>>) -> Result<Self, CompareError> {
        let text = read_text(path)?;
        let unusable = |e: toml::de::Error| CompareError::Format {
            path: path.to_owned(),
            reason: format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message())),
        };
        let out_of_range =
            |e: ConfigError| CompareError::Format { path: path.to_owned(), reason: e.to_string() };
        let file: CompareFile = toml::from_str(&text).map_err(unusable)?;
        let table: Table = text.parse().map_err(unusable)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut base, warnings) = match file.base {
            TextOr::Text(name) => base_file(path, &folder.join(name))?,
            TextOr::Table(config) => {
                let raw = table.get("base").and_then(Value::as_table).cloned().unwrap_or_default();
                let warning = unused(path, &raw, "base.");
                let config = match config.preset {
                    Some(preset) => preset.under(raw).and_then(Table::try_into).map_err(unusable)?,
                    None => config,
                };
                (config.resolved(folder), warning)
            }
        };
        if let Some(corpora) = corpora {
            base.tasks = corpora.into_iter().collect();
            if let Some(preset) = base.preset {
                let labels = Labels::Preset(preset.labels());
                base.tasks.values_mut().for_each(|spec| spec.labels = labels.clone());
            }
        }
        if base.tasks.is_empty() {
            let reason = "the base has no task\nhint: add a `[task.NAME]` to it, or name a folder with the paper's corpora with `--data`";
            return Err(CompareError::Format { path: path.to_owned(), reason: reason.to_owned() });
        }
        if !file.tasks.is_empty() {
            base.keep_tasks(&file.tasks).map_err(out_of_range)?;
        }
        base.training.fraction = 1.0;
        let mut plan = Self {
            out: folder.join(file.out),
            methods: Vec::new(),
            fractions: file.fractions,
            seeds: file.seeds,
            budget: file.budget,
            resamples: file.resamples,
            warnings,
        };
        for entry in file.methods {
            let line = 1 + text[..entry.span().start].matches('\n').count();
            let fail = |reason| CompareError::Method { path: path.to_owned(), line, reason };
            let entry = match entry.into_inner() {
                TextOr::Text(name) => MethodEntry::named(name),
                TextOr::Table(entry) => entry,
            };
            let method = planned(&plan, entry, &base, folder).map_err(fail)?;
            plan.methods.push(method);
        }
        validate(&plan).map_err(out_of_range)?;
        plan.fractions.sort_by(f64::total_cmp);
        Ok(plan)
    }
}

/// Checks that all values are in range.
fn validate(plan: &Plan) -> Result<(), ConfigError> {
    let fail = |field: &str, value: String, expected: &'static str| {
        Err(ConfigError::Value { field: field.to_owned(), value, expected: expected.into() })
    };
    if plan.methods.is_empty() {
        return fail("methods", "empty".into(), "at least one method");
    }
    if plan.seeds.is_empty() {
        return fail("seeds", "empty".into(), "at least one seed");
    }
    if plan.fractions.is_empty() {
        return fail("fractions", "empty".into(), "at least one share of the training sentences");
    }
    if let Some(share) = plan.fractions.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
        return fail("fractions", format!("{share}"), "numbers above 0 and at most 1");
    }
    if let Some(seed) = repeated(&plan.seeds) {
        return fail("seeds", format!("{seed} twice"), "different seeds");
    }
    let shares: Vec<u64> = plan.fractions.iter().map(|share| share.to_bits()).collect();
    if let Some(share) = repeated(&shares) {
        return fail("fractions", format!("{} twice", f64::from_bits(share)), "different shares");
    }
    if !(1..=1_000_000).contains(&plan.resamples) {
        return fail("resamples", plan.resamples.to_string(), "a number from 1 to 1000000");
    }
    Ok(())
}

fn base_file(compare_file: &Path, path: &Path) -> Result<(Config, Vec<String>), CompareError> {
    let text =
        read_text(path).map_err(|source| CompareError::Base { path: compare_file.to_owned(), source })?;
    let config = Config::from_file(path)?;
    // `from_file` has parsed the text, so this succeeds.
    Ok((config, unused(path, &text.parse().unwrap_or_default(), "")))
}

/// A warning about keys of a base that have no effect.
fn unused(path: &Path, base: &Table, prefix: &str) -> Vec<String> {
    let mut fields: Vec<String> =
        UNUSED.iter().filter(|field| base.contains_key(**field)).map(|f| format!("`{prefix}{f}`")).collect();
    if base.get("training").and_then(|training| training.get("fraction")).is_some() {
        fields.push(format!("`{prefix}training.fraction`"));
    }
    if fields.is_empty() {
        return Vec::new();
    }
    let path = path.display();
    vec![format!("of `{path}`, {} have no effect: the compare file sets them", fields.join(", "))]
}

/// The first value that occurs twice.
fn repeated(values: &[u64]) -> Option<u64> {
    let mut seen = BTreeSet::new();
    values.iter().copied().find(|value| !seen.insert(*value))
}

#[cfg(test)]
mod tests {
    use hyperloader_core::method::MethodConfig;

    use super::*;

    const BASE: &str = "[base.backbone]\npath = \"b\"\n[base.training]\nsteps = 100\nbatch_size = 8\n\
        [base.task.a]\nlayout = \"mtop\"\ntrain = \"t\"\ntest = \"t\"\n";

    fn plan(text: &str) -> Result<Plan, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compare.toml");
        std::fs::write(&path, format!("{text}\n{BASE}")).unwrap();
        Plan::from_file(&path, None).map_err(|e| e.to_string())
    }

    fn budgets(plan: &Plan) -> Vec<(usize, u64)> {
        plan.methods.iter().map(|m| (m.config.training.batch_size, m.config.training.steps)).collect()
    }

    #[test]
    fn published_budgets_are_those_of_each_method_and_can_be_overridden() {
        let methods = "methods = [\"hyperformer++\", \"hyperloader-8-lora\", \
            { name = \"hyperloader\", training = { steps = 9 } }]\nseeds = [1]\n";
        let published = plan(&format!("{methods}budget = \"published\"")).unwrap();
        assert_eq!(budgets(&published), [(32, 65_536), (128, 65_536), (128, 9)]);
    }

    #[test]
    fn equal_budgets_leave_the_batch_size_free() {
        let methods = |steps: u64| {
            plan(&format!(
                "seeds = [1]\nmethods = [\"hyperformer++\", \
                 {{ name = \"hyperloader\", training = {{ steps = {steps}, batch_size = 2 }} }}]"
            ))
        };
        assert_eq!(budgets(&methods(400).unwrap()), [(8, 100), (2, 400)]);
        let refused = methods(300).unwrap_err();
        assert!(
            refused.contains("300 steps of 2 sentences are 600 samples, the base's 100 of 8 are 800"),
            "{refused}"
        );
    }

    #[test]
    fn overrides_change_what_they_name_and_nothing_else() {
        let plan = plan(
            "seeds = [2, 1]\nfractions = [1, 0.1]\nmethods = [\"hyperloader-r16\", \
             { name = \"hyperloader-r16\", label = \"x\", method = { lora = { alpha = 4.0 } }, training = { dropout = 0.5 } }]",
        );
        let plan = plan.unwrap();
        let [preset, changed] = [0, 1].map(|at| plan.methods[at].config.clone());
        let hyper = |config: &Config| match config.method.clone() {
            MethodConfig::Hyper(config) => config,
            other => panic!("{other:?}"),
        };
        let (base, own) = (hyper(&preset), hyper(&changed));
        let ranks = [&base, &own].map(|config| config.lora.as_ref().unwrap().rank);
        assert_eq!((ranks, own.lora.unwrap().alpha), ([16, 16], 4.0));
        assert_eq!(own.reduction_factor, base.reduction_factor);
        assert_eq!((preset.training.dropout, changed.training.dropout), (None, Some(0.5)));
        let cells: Vec<String> = plan.cells().iter().map(|cell| cell.to_string()).collect();
        // A whole seed first, and of it the cheapest fraction.
        assert_eq!(
            cells[..3],
            [
                "`hyperloader-r16`, fraction 0.1, seed 2",
                "`x`, fraction 0.1, seed 2",
                "`hyperloader-r16`, fraction 1, seed 2"
            ]
        );
        let config = plan.cells()[1].config(Path::new("out"));
        assert_eq!((config.runs, config.name.unwrap()), (PathBuf::from("out/runs/x/0.1"), "2".to_owned()));
        assert_eq!((config.seed, config.training.fraction), (2, 0.1));
    }

    #[test]
    fn a_preset_of_the_base_fills_in_what_it_leaves_open() {
        let plan =
            plan("seeds = [1]\nmethods = [\"hyperloader\"]\n[base]\npreset = \"hyperloader-paper\"").unwrap();
        let config = &plan.methods[0].config;
        assert_eq!((config.training.steps, config.training.save_every), (100, Some(1000)));
        assert!(config.backbone.cross_attention_relative_bias && plan.warnings.is_empty());
    }
}
