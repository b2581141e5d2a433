//! The compare file: which methods are trained on which fractions with which seeds, and what all runs have in common.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use hyperloader_core::corpus::{CorpusSpec, Labels};
use hyperloader_core::files::read_text;
use hyperloader_core::method::{Variant, variants};
use hyperloader_core::suggest;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Spanned, Table, Value};

use super::CompareError;
use crate::config::{BackboneConfig, Config, ConfigError, did_you_mean, is_folder_name};
use crate::preset::fill;

/// Resamples of a significance test, as Berg-Kirkpatrick et al. (2012) recommend.
const RESAMPLES: usize = 10_000;
/// Folder of all runs, in that of the comparison.
pub(super) const RUNS: &str = "runs";
/// Fields of a base that the comparison itself decides.
const UNUSED: [&str; 4] = ["method", "name", "runs", "seed"];

/// How much each method is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// All methods see the same number of samples, `steps` times `batch_size`.
    #[default]
    Equal,
    /// Each method has the batch size and the updates of its publication.
    Published,
}

/// What is compared.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Folder of runs, tables and figure.
    pub out: PathBuf,
    /// Methods, in the order of the tables.
    pub methods: Vec<PlannedMethod>,
    /// Shares of the training and validation sentences, ascending.
    pub fractions: Vec<f64>,
    /// Seeds of the runs of each method and fraction.
    pub seeds: Vec<u64>,
    /// How much each method is trained.
    pub budget: Budget,
    /// Resamples of a significance test.
    pub resamples: usize,
    /// What of the base is not used.
    pub warnings: Vec<String>,
}

/// A method of a comparison.
#[derive(Debug, Clone)]
pub struct PlannedMethod {
    /// Its name in tables and folders.
    pub label: String,
    /// The variant that it is, by the name of the command line.
    pub name: String,
    /// Configuration of its runs, but for fraction and seed.
    pub config: Config,
}

/// One run of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Its method.
    pub method: &'a PlannedMethod,
    /// Share of the training and validation sentences.
    pub fraction: f64,
    /// Its seed.
    pub seed: u64,
}

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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodEntry {
    name: String,
    label: Option<String>,
    #[serde(default)]
    method: Table,
    #[serde(default)]
    training: Table,
    backbone: Option<BackboneConfig>,
}

/// Either a name or a table that says more.
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
    /// Reads a compare file; paths in it are relative to its own folder. `corpora` take the place of the base's tasks.
    ///
    /// # Errors
    /// If a file is missing or holds an unknown field, a method or task is unknown, or a value is impossible.
    pub fn from_file(path: &Path, corpora: Option<Vec<(String, CorpusSpec)>>) -> Result<Self, CompareError> {
        let text = read_text(path)?;
        let unusable = |e: toml::de::Error| CompareError::Format {
            path: path.to_owned(),
            reason: format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message())),
        };
        let impossible =
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
            let reason = "the base has no task\nhint: give it a `[task.NAME]`, or name a folder with the paper's corpora by `--data`";
            return Err(CompareError::Format { path: path.to_owned(), reason: reason.to_owned() });
        }
        if !file.tasks.is_empty() {
            base.keep_tasks(&file.tasks).map_err(impossible)?;
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
                TextOr::Text(name) => MethodEntry { name, ..MethodEntry::default() },
                TextOr::Table(entry) => entry,
            };
            let method = plan.method(entry, &base, folder).map_err(fail)?;
            plan.methods.push(method);
        }
        plan.validate().map_err(impossible)?;
        plan.fractions.sort_by(f64::total_cmp);
        Ok(plan)
    }

    fn method(&self, entry: MethodEntry, base: &Config, folder: &Path) -> Result<PlannedMethod, String> {
        let MethodEntry { name, label, method, training, backbone } = entry;
        let label = label.unwrap_or_else(|| name.clone());
        let variant = resolve(&name)?;
        let problem = |problem: String| format!("method `{label}`: {problem}");
        if !is_folder_name(&label) {
            return Err(problem(
                "its label must be the name of a folder: no `/`, not empty, not `.` or `..`".into(),
            ));
        }
        if self.methods.iter().any(|other| other.label == label) {
            return Err(problem(
                "there is one of that label above it\nhint: give it a `label` of its own".into(),
            ));
        }
        for (table, field, instead) in
            [(&method, "method", "`name` decides"), (&training, "fraction", "`fractions` decide")]
        {
            if table.contains_key(field) {
                return Err(problem(format!("`{field}` is not to be overridden: {instead}")));
            }
        }
        let mut config = base.clone();
        // Its runs are scored, not exported.
        config.training.drafter = false;
        config.method = merged(&variant.config, &method).map_err(problem)?;
        if self.budget == Budget::Published {
            let published = published_budget(&name);
            if published.is_none()
                && !["steps", "batch_size"].iter().all(|field| training.contains_key(*field))
            {
                return Err(problem(format!(
                    "no budget is known to be published for `{name}`\nhint: give it `training = {{ steps = ..., batch_size = ... }}`"
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
        if self.budget == Budget::Equal && ours != all {
            let [own, common] = [&config, base].map(|c| (c.training.steps, c.training.batch_size));
            return Err(problem(format!(
                "{} steps of {} sentences are {ours} samples, the base's {} of {} are {all}\nhint: `budget = \"equal\"` wants as many; `budget = \"published\"` does not",
                own.0, own.1, common.0, common.1
            )));
        }
        Ok(PlannedMethod { label, name, config })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let fail = |field: &str, value: String, expected: &'static str| {
            Err(ConfigError::Value { field: field.to_owned(), value, expected: expected.into() })
        };
        if self.methods.is_empty() {
            return fail("methods", "empty".into(), "at least one method");
        }
        if self.seeds.is_empty() {
            return fail("seeds", "empty".into(), "at least one seed");
        }
        if self.fractions.is_empty() {
            return fail("fractions", "empty".into(), "at least one share of the training sentences");
        }
        if let Some(share) = self.fractions.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return fail("fractions", format!("{share}"), "numbers above 0, at most 1");
        }
        if let Some(seed) = repeated(&self.seeds) {
            return fail("seeds", format!("{seed} twice"), "seeds that differ");
        }
        let shares: Vec<u64> = self.fractions.iter().map(|share| share.to_bits()).collect();
        if let Some(share) = repeated(&shares) {
            return fail("fractions", format!("{} twice", f64::from_bits(share)), "shares that differ");
        }
        if !(1..=1_000_000).contains(&self.resamples) {
            return fail("resamples", self.resamples.to_string(), "a number from 1 to 1000000");
        }
        Ok(())
    }

    /// Names of the tasks, in the order of the tables.
    pub fn tasks(&self) -> Vec<&str> {
        let first = self.methods.first();
        first.into_iter().flat_map(|method| method.config.tasks.keys().map(String::as_str)).collect()
    }

    /// All runs: first those of one seed, so that what is there early compares all methods.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for &fraction in &self.fractions {
                cells.extend(self.methods.iter().map(|method| Cell { method, fraction, seed }));
            }
        }
        cells
    }

    /// Overrides what does not change results: where and with how many threads runs are trained.
    pub fn run_on(&mut self, device: Option<&str>, threads: Option<usize>) {
        for method in &mut self.methods {
            let training = &mut method.config.training;
            if let Some(device) = device {
                device.clone_into(&mut training.device);
            }
            training.threads = threads.or(training.threads);
        }
    }
}

/// The method of this name.
fn resolve(name: &str) -> Result<Variant, String> {
    let known: Vec<Variant> = variants();
    known.iter().find(|variant| variant.name == name).cloned().ok_or_else(|| {
        let names = known.iter().map(|variant| variant.name);
        let list: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
        format!("unknown method `{name}`; known are {}{}", list.join(", "), suggest::hint(name, names))
    })
}

/// Whether the method of this name is HyperLoader, or one of its ablations.
pub(super) fn is_hyperloader(name: &str) -> bool {
    name == "hyperloader" || name.starts_with("hyperloader-")
}

/// Sentences of a step and updates of the run that a method's published scores are of, as far as known (reference
/// sections 0 and 5.5).
fn published_budget(name: &str) -> Option<(usize, u64)> {
    match name {
        "hyperformer++" => Some((32, 65_536)),
        "hyperdecoder" => Some((128, 65_536)),
        _ => is_hyperloader(name).then_some((128, 65_536)),
    }
}

/// Sentences that a training sees, each as often as it sees it.
pub(super) fn samples(config: &Config) -> u64 {
    config.training.steps.saturating_mul(config.training.batch_size as u64)
}

/// `value` with the fields of `overrides` in place of its own.
fn merged<T: Serialize + DeserializeOwned>(value: &T, overrides: &Table) -> Result<T, String> {
    let mut table = overrides.clone();
    fill(&mut table, Table::try_from(value).map_err(|e| e.to_string())?);
    let unusable = |e: toml::de::Error| format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message()));
    table.try_into().map_err(unusable)
}

fn base_file(compare_file: &Path, path: &Path) -> Result<(Config, Vec<String>), CompareError> {
    let text = read_text(path).map_err(|e| CompareError::Format {
        path: compare_file.to_owned(),
        reason: format!("`base`: {e}"),
    })?;
    let config = Config::from_file(path)?;
    // It was read as a configuration just now.
    Ok((config, unused(path, &text.parse().unwrap_or_default(), "")))
}

/// A warning about fields of a base that have no effect.
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
    vec![format!("of `{path}`, {} have no effect: the comparison decides", fields.join(", "))]
}

/// The first value that is there twice.
fn repeated(values: &[u64]) -> Option<u64> {
    let mut seen = BTreeSet::new();
    values.iter().copied().find(|value| !seen.insert(*value))
}

impl Cell<'_> {
    /// The run's folder.
    pub fn folder(&self, out: &Path) -> PathBuf {
        self.runs(out).join(self.seed.to_string())
    }

    fn runs(&self, out: &Path) -> PathBuf {
        out.join(RUNS).join(&self.method.label).join(self.fraction.to_string())
    }

    /// The run's configuration.
    pub fn config(&self, out: &Path) -> Config {
        let mut config = self.method.config.clone();
        config.runs = self.runs(out);
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
        assert_eq!(published_budget("lora"), None);
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
