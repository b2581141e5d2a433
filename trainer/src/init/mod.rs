//! A first configuration for a user's own corpora, made from what their files hold.
//!
//! - [`files`]: files grouped to tasks and splits by their names
//! - `text`: the configuration as commented TOML
//! - [`InitError`] (`error`)

mod error;
pub mod files;
mod text;

use std::path::{Component, Path, PathBuf};

use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::method::{HyperConfig, LoraConfig, MethodConfig, variant};
use hyperloader_core::run::{HubReference, Run};

pub use self::error::InitError;
use self::files::TaskFiles;
use crate::config::{BackboneConfig, TooLong, TrainingConfig};
use crate::corpora::{Corpora, CorpusNumbers, Lengths, TokenLengths};
use crate::model::Tokens;

/// The most tokens of a source or a target that a configuration asks for.
const MAX_LENGTH: usize = 512;

/// What a configuration is made for.
#[derive(Debug)]
pub struct Plan {
    /// The backbone, with paths relative to the working directory.
    pub backbone: BackboneConfig,
    /// The method and its hyper-parameters.
    pub method: MethodConfig,
    /// The run to start from, if there is one, as the user named it.
    pub warm_start: Option<String>,
}

impl Plan {
    /// A plan on a backbone. One that is on this machine tells what fits it: adapters on a BERT, the only method that was trained
    /// to a usable F1 there (docs/results/minilm.md), and a narrow T5 learns faster from ordinary norms and small LoRA updates,
    /// as in `hyperloader.toml`.
    pub fn on(backbone: BackboneConfig) -> Self {
        let folder = backbone.locate_offline().ok().map(|located| located.folder);
        let method = match folder.as_deref().and_then(BackboneKind::of_folder) {
            Some(BackboneKind::Bert) => variant("adapters").unwrap_or_default(),
            _ if folder.as_deref().is_some_and(is_narrow) => narrow_method(),
            _ => MethodConfig::default(),
        };
        Self { backbone, method, warm_start: None }
    }

    /// A plan that starts from a run: its backbone and its method.
    pub fn from_run(run: &Run, named: &Path) -> Self {
        let reference = &run.manifest.backbone;
        let backbone = match &reference.hub {
            Some(HubReference { id, commit }) => BackboneConfig {
                id: Some(id.clone()),
                revision: Some(commit.clone()),
                ..BackboneConfig::default()
            },
            None => BackboneConfig {
                path: Some(plain(run.folder.join(&reference.path))),
                ..BackboneConfig::default()
            },
        };
        let bias = run.manifest.t5().is_ok_and(|t5| t5.cross_attention_relative_bias);
        Self {
            backbone: BackboneConfig { cross_attention_relative_bias: bias, ..backbone },
            method: run.manifest.method.clone(),
            warm_start: Some(named.display().to_string()),
        }
    }

    /// The configuration of `tasks` as commented TOML, for a file in `folder`. Every file is read as a training would read it.
    /// `tokens` gives lengths in tokens, and the longest that run on the backbone.
    ///
    /// # Errors
    /// If a file cannot be read, or a path has no form relative to `folder`.
    pub fn configuration(
        &self,
        tasks: &[TaskFiles],
        tokens: Option<&Tokens>,
        folder: &Path,
    ) -> Result<String, InitError> {
        let unlimited = TrainingConfig {
            max_source_len: usize::MAX,
            max_target_len: usize::MAX,
            ..TrainingConfig::default()
        };
        let counted = self.count(tasks, tokens, &unlimited)?;
        let mut training = training(&counted, self, tokens);
        // With the limits that were chosen.
        let numbers = self.count(tasks, tokens, &training)?;
        if too_long(&numbers) > 0 {
            training.too_long = TooLong::Window;
        }
        text::write(self, &training, &numbers, folder)
    }

    fn count<'a>(
        &self,
        tasks: &'a [TaskFiles],
        tokens: Option<&Tokens>,
        training: &TrainingConfig,
    ) -> Result<Vec<(&'a TaskFiles, CorpusNumbers)>, InitError> {
        let specs = tasks.iter().map(|task| (task.name.clone(), task.spec())).collect();
        let coding = tokens.map(|tokens| &*tokens.coding);
        let counted = Corpora::count(specs, coding, training, &self.method).corpora;
        let numbers = tasks.iter().zip(counted).map(|(task, counted)| match counted.result {
            Ok(counted) => Ok((task, counted)),
            Err(source) => Err(InitError::Corpus { task: task.name.clone(), source }),
        });
        numbers.collect()
    }

    /// Whether the model should be trained without regularization: a small one, for a short time.
    fn is_plain(&self) -> bool {
        self.warm_start.is_some() || self.method == narrow_method()
    }

    /// Whether the method's modules are trained themselves, not generated: they need a higher learning rate
    /// (docs/results/compare.md#limits).
    fn is_direct(&self) -> bool {
        matches!(self.method, MethodConfig::Modules(_))
    }
}

/// A path without `..` between its parts, if it leads to the same place.
fn plain(path: PathBuf) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match (part, short.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => drop(short.pop()),
            _ => short.push(part),
        }
    }
    let same = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
    if same(&path, &short) { short } else { path }
}

/// Training values that suit the size of the corpora.
fn training(numbers: &[(&TaskFiles, CorpusNumbers)], plan: &Plan, tokens: Option<&Tokens>) -> TrainingConfig {
    let sentences: usize = numbers.iter().map(|(_, numbers)| numbers.stats.train.sentences).sum();
    let batch_size = if sentences < 64 { 8 } else { 16 };
    // Some 40 epochs of a small corpus, and no fewer updates than the learning rate needs.
    let steps = ((40 * sentences / batch_size) as u64).clamp(400, 20_000).next_multiple_of(100);
    let default = TrainingConfig::default();
    // Room for sentences that are a little longer than those of the corpus.
    let room = |longest: usize| (longest + longest / 4).next_multiple_of(16).clamp(32, MAX_LENGTH);
    let most = tokens.and_then(|tokens| tokens.longest_source).unwrap_or(usize::MAX);
    let source = longest(numbers, |tokens| Some(tokens.source.max));
    let target = longest(numbers, |tokens| tokens.target.map(|target| target.max));
    let (plain, direct) = (plan.is_plain(), plan.is_direct());
    TrainingConfig {
        steps,
        batch_size,
        warmup_steps: steps / 10,
        evaluate_every: steps / 4,
        label_smoothing: if plain || direct { 0.0 } else { default.label_smoothing },
        dropout: plain.then_some(0.0),
        learning_rate: if plain || direct { 1e-3 } else { default.learning_rate },
        max_source_len: source.map_or(default.max_source_len, room).min(most),
        max_target_len: target.map_or(default.max_target_len, room),
        ..default
    }
}

fn splits(numbers: &[(&TaskFiles, CorpusNumbers)]) -> impl Iterator<Item = Lengths> {
    numbers.iter().flat_map(|(_, numbers)| {
        let lengths = numbers.lengths;
        [lengths.train, lengths.valid, lengths.test]
    })
}

/// The longest source or target of all sentences in tokens; `None` if they were not counted.
fn longest(
    numbers: &[(&TaskFiles, CorpusNumbers)],
    part: fn(TokenLengths) -> Option<usize>,
) -> Option<usize> {
    splits(numbers).filter_map(|split| part(split.tokens?)).max()
}

/// The number of sentences over a limit.
fn too_long(numbers: &[(&TaskFiles, CorpusNumbers)]) -> usize {
    splits(numbers).map(|split| split.too_long).sum()
}

/// Whether a backbone is narrower than every published T5.
fn is_narrow(folder: &Path) -> bool {
    let config = hyperloader_core::backbone::t5::T5Config::from_file(&folder.join("config.json"));
    config.is_ok_and(|config| Architecture::T5(config).config().shape().width < 512)
}

fn narrow_method() -> MethodConfig {
    let lora = LoraConfig { alpha: 0.16, ..LoraConfig::default() };
    let narrow =
        HyperConfig { reduction_factor: 2, ln_gamma_offset: 1.0, lora: Some(lora), ..HyperConfig::default() };
    narrow.into()
}
