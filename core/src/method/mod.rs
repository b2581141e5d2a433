//! Methods and their hyper-parameters: which sites get which modules, and every tensor that training creates.
//!
//! The list of [`TrainableTensor`]s is the one truth that the trainer creates tensors from, a checkpoint is checked
//! against, and parameters are counted with (names and shapes: reference section 7).
//!
//! One file a family of methods. A new one is a file with a `Family`, and its lines in [`Method`], [`variants`] and
//! [`MethodConfig`].

mod full;
mod hyper;
mod hyperdecoder;
mod modules;
pub mod unipelt_bert;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::full::FullConfig;
pub use self::hyper::{AdapterHeads, HyperConfig, LoraConfig, LoraHeads, Site};
pub use self::hyperdecoder::HyperdecoderConfig;
pub use self::modules::{ModulesConfig, PairConfig};
use crate::backbone;
use crate::backbone::t5::T5Config;
use crate::method::unipelt_bert::UnipeltBertConfig;

/// A method could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A hyper-parameter does not fit the method or the backbone.
    #[error("`{field}` is {value}, expected {expected}")]
    Value {
        /// The hyper-parameter.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would fit.
        expected: String,
    },
    /// The method runs on another kind of backbone.
    #[error("method `{method}` runs on a {}", method.family())]
    Backbone {
        /// The method.
        method: Method,
    },
    /// Task names must be there, differ, and be usable in a tensor's name.
    #[error("task name `{name}` {problem}")]
    Task {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A training method of the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// HyperLoader: generated adapters, LoRA and layer norms (Ortiz-Barajas et al. 2024).
    #[default]
    HyperLoader,
    /// HyperFormer++: generated adapters and layer norms (Mahabadi et al. 2021).
    #[serde(rename = "hyperformer++")]
    HyperFormerPlusPlus,
    /// HyperFormer: the same with hypernetworks of their own for each position (Mahabadi et al. 2021).
    HyperFormer,
    /// Hyperdecoder: decoder adapters generated for each input (Ivison and Peters 2022).
    Hyperdecoder,
    /// Adapters (Houlsby et al. 2019).
    Adapters,
    /// LoRA (Hu et al. 2022).
    Lora,
    /// UniPELT on T5 as the paper has it: adapters and LoRA (Mao et al. 2022).
    UniPelt,
    /// All of T5.
    Full,
    /// Gated LoRA, prefix and adapters on a BERT (Mao et al. 2022).
    #[serde(rename = "unipelt-bert")]
    UnipeltBert,
}

impl Method {
    /// All methods that run on a T5.
    pub const ALL: [Method; 8] = [
        Method::HyperLoader,
        Method::HyperFormerPlusPlus,
        Method::HyperFormer,
        Method::Hyperdecoder,
        Method::Adapters,
        Method::Lora,
        Method::UniPelt,
        Method::Full,
    ];

    /// The name that the command line and files use.
    pub fn name(self) -> &'static str {
        match self {
            Method::HyperLoader => "hyperloader",
            Method::HyperFormerPlusPlus => "hyperformer++",
            Method::HyperFormer => "hyperformer",
            Method::Hyperdecoder => "hyperdecoder",
            Method::Adapters => "adapters",
            Method::Lora => "lora",
            Method::UniPelt => "unipelt",
            Method::Full => "full",
            Method::UnipeltBert => "unipelt-bert",
        }
    }

    /// The kind of backbone that it runs on.
    pub fn family(self) -> backbone::Family {
        match self {
            Method::UnipeltBert => backbone::Family::Bert,
            _ => backbone::Family::T5,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named set of hyper-parameters: a method as published, or a variant of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name on the command line: a method's own where it is as published.
    pub name: &'static str,
    /// Its hyper-parameters.
    pub config: MethodConfig,
}

/// All variants of all methods that run on a T5.
pub fn variants() -> Vec<Variant> {
    [hyper::variants(), hyperdecoder::variants(), modules::variants(), full::variants()].concat()
}

/// All variants of the method that runs on a BERT.
pub fn bert_variants() -> Vec<Variant> {
    let flat = UnipeltBertConfig { prefix_hidden: 0, ..UnipeltBertConfig::default() };
    vec![
        Variant { name: "unipelt-bert", config: UnipeltBertConfig::default().into() },
        Variant { name: "unipelt-bert-flat", config: flat.into() },
    ]
}

/// The variant of this name.
pub fn variant(name: &str) -> Option<MethodConfig> {
    variants()
        .into_iter()
        .chain(bert_variants())
        .find(|variant| variant.name == name)
        .map(|variant| variant.config)
}

/// A method with its hyper-parameters; in files, a table with the field `method` (`hyperloader` where absent).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MethodConfig {
    /// HyperLoader, HyperFormer++ and HyperFormer.
    Hyper(HyperConfig),
    /// Hyperdecoder.
    Hyperdecoder(HyperdecoderConfig),
    /// Adapters, LoRA and UniPELT.
    Modules(ModulesConfig),
    /// All of T5.
    Full(FullConfig),
    /// UniPELT on a BERT.
    UnipeltBert(UnipeltBertConfig),
}

impl Default for MethodConfig {
    fn default() -> Self {
        Self::Hyper(HyperConfig::default())
    }
}

impl MethodConfig {
    /// Reads the hyper-parameters of `method`, straight from `deserializer`, so that an error knows its place.
    ///
    /// # Errors
    /// If a field is no hyper-parameter of `method`, or has a value of the wrong type.
    pub fn read<'de, D: Deserializer<'de>>(method: Method, deserializer: D) -> Result<Self, D::Error> {
        match method {
            Method::HyperLoader | Method::HyperFormerPlusPlus | Method::HyperFormer => {
                Ok(Self::Hyper(HyperConfig::deserialize(deserializer)?.completed()))
            }
            Method::Hyperdecoder => Ok(Self::Hyperdecoder(HyperdecoderConfig::deserialize(deserializer)?)),
            Method::Adapters | Method::Lora | Method::UniPelt => {
                Ok(Self::Modules(ModulesConfig::deserialize(deserializer)?.completed()))
            }
            Method::Full => Ok(Self::Full(FullConfig::deserialize(deserializer)?)),
            Method::UnipeltBert => Ok(Self::UnipeltBert(UnipeltBertConfig::deserialize(deserializer)?)),
        }
    }

    fn family(&self) -> &dyn Family {
        match self {
            Self::Hyper(config) => config,
            Self::Hyperdecoder(config) => config,
            Self::Modules(config) => config,
            Self::Full(config) => config,
            Self::UnipeltBert(config) => config,
        }
    }

    /// The hyper-parameters of `unipelt-bert`.
    ///
    /// # Errors
    /// If the method is another one.
    pub fn unipelt_bert(&self) -> Result<&UnipeltBertConfig, MethodError> {
        match self {
            Self::UnipeltBert(config) => Ok(config),
            _ => Err(MethodError::Backbone { method: self.method() }),
        }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.family().method()
    }

    /// What its tasks share.
    pub fn sharing(&self) -> Sharing {
        self.family().sharing()
    }

    /// What stands in front of each source of `task`, for the model to know the task by: its name where weights do not
    /// tell tasks apart, nothing otherwise (reference section 6, `task_prefix`).
    pub fn source_prefix<'a>(&self, task: &'a str) -> &'a str {
        match self.sharing() {
            Sharing::Everything => task,
            Sharing::Embedding | Sharing::Nothing => "",
        }
    }

    /// Every tensor that training creates or changes, in a fixed order.
    pub fn trainable_tensors(&self, t5: &T5Config, tasks: &[String]) -> Vec<TrainableTensor> {
        self.family().trainable_tensors(t5, tasks)
    }

    /// Checks the hyper-parameters against a backbone and the task names.
    ///
    /// # Errors
    /// Names the field or task and what would fit.
    pub fn validate(&self, t5: &T5Config, tasks: &[String]) -> Result<(), MethodError> {
        self.family().check(t5)?;
        check_tasks(tasks)
    }
}

impl From<UnipeltBertConfig> for MethodConfig {
    fn from(config: UnipeltBertConfig) -> Self {
        Self::UnipeltBert(config)
    }
}

/// What it has to say of a T5: nothing is trained there. See [`UnipeltBertConfig::trainable_tensors`].
impl Family for UnipeltBertConfig {
    fn method(&self) -> Method {
        Method::UnipeltBert
    }

    fn sharing(&self) -> Sharing {
        Sharing::Nothing
    }

    fn trainable_tensors(&self, _: &T5Config, _: &[String]) -> Vec<TrainableTensor> {
        Vec::new()
    }

    fn check(&self, _: &T5Config) -> Result<(), MethodError> {
        Err(MethodError::Backbone { method: Method::UnipeltBert })
    }
}

impl<'de> Deserialize<'de> for MethodConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = serde_json::Value::deserialize(deserializer)?;
        let method = match fields.get("method") {
            Some(name) => Method::deserialize(name).map_err(D::Error::custom)?,
            None => Method::default(),
        };
        Self::read(method, fields).map_err(D::Error::custom)
    }
}

/// What the tasks of a run share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All but an embedding for each task.
    Embedding,
    /// All: only the source tells tasks apart.
    Everything,
    /// Nothing: as many trainings side by side as there are tasks.
    Nothing,
}

/// What every family of methods says of itself.
trait Family {
    fn method(&self) -> Method;

    fn sharing(&self) -> Sharing;

    fn trainable_tensors(&self, t5: &T5Config, tasks: &[String]) -> Vec<TrainableTensor>;

    /// Checks the hyper-parameters against a backbone.
    fn check(&self, t5: &T5Config) -> Result<(), MethodError>;
}

/// How a trainable tensor starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `-bound..bound`.
    Uniform {
        /// Half the width.
        bound: f64,
    },
    /// The backbone's tensor of the same name.
    Backbone,
}

/// A tensor that training changes.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainableTensor {
    /// `hyper.*` (reference section 7), `task.TASK.*`, or Hugging Face's name for a tensor of the backbone.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

struct TensorList(Vec<TrainableTensor>);

impl TensorList {
    fn add(&mut self, name: String, shape: &[usize], init: Init) {
        self.0.push(TrainableTensor { name, shape: shape.to_vec(), init });
    }

    /// A linear map whose bias starts at zero.
    fn linear(&mut self, name: &str, [out, input]: [usize; 2], init: Init) {
        self.add(format!("{name}.weight"), &[out, input], init);
        self.add(format!("{name}.bias"), &[out], Init::Zeros);
    }

    /// A linear map as torch makes it: weight and bias within 1/sqrt(fan_in).
    fn torch_linear(&mut self, name: &str, [out, input]: [usize; 2]) {
        let init = Init::Uniform { bound: kaiming(input) };
        self.add(format!("{name}.weight"), &[out, input], init);
        self.add(format!("{name}.bias"), &[out], init);
    }
}

/// Bound of Kaiming's uniform distribution with a = sqrt(5).
fn kaiming(fan_in: usize) -> f64 {
    (fan_in as f64).powf(-0.5)
}

fn check_reduction(factor: usize, t5: &T5Config) -> Result<(), MethodError> {
    let d = t5.d_model;
    if factor == 0 || !d.is_multiple_of(factor) {
        return Err(MethodError::Value {
            field: "reduction_factor",
            value: factor.to_string(),
            expected: format!("a divisor of the backbone's `d_model` {d}"),
        });
    }
    Ok(())
}

fn check_width(field: &'static str, n: usize) -> Result<(), MethodError> {
    if n == 0 || n > 1 << 16 {
        let expected = "a number from 1 to 65536".to_owned();
        return Err(MethodError::Value { field, value: n.to_string(), expected });
    }
    Ok(())
}

fn check_lora(rank: usize, alpha: f64, t5: &T5Config) -> Result<(), MethodError> {
    let value = |field, value: String, expected: &str| {
        Err(MethodError::Value { field, value, expected: expected.to_owned() })
    };
    if rank == 0 || rank > t5.d_model {
        return value("lora.rank", rank.to_string(), "a number from 1 to `d_model`");
    }
    if !alpha.is_finite() || alpha == 0.0 {
        return value("lora.alpha", alpha.to_string(), "a number other than 0");
    }
    Ok(())
}

pub(crate) fn check_tasks(tasks: &[String]) -> Result<(), MethodError> {
    let problem = |name: &str, problem| Err(MethodError::Task { name: name.to_owned(), problem });
    if tasks.is_empty() {
        return problem("", "is missing: at least one task is needed");
    }
    for (index, name) in tasks.iter().enumerate() {
        let usable = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(usable) {
            return problem(name, "may hold only letters, digits, `_` and `-`");
        }
        if tasks[..index].contains(name) {
            return problem(name, "is used twice");
        }
    }
    Ok(())
}

/// Names of the tensors that methods add to T5's.
pub mod names {
    use crate::backbone::t5::{Attention, Stack, names};

    /// The embedding of a task, `[task_embed_dim]` (reference section 7).
    pub fn task_embedding(task: &str) -> String {
        format!("hyper.task_embed.{task}")
    }

    /// A part of a stack's hypernetwork: `adapter_up.weight_head.bias`, ... (reference section 7).
    pub fn hypernetwork(stack: Stack, part: &str) -> String {
        format!("hyper.{stack}.{part}")
    }

    /// A part (`down.weight`, `down.bias`, `up.weight`, `up.bias`, `norm.weight`, `norm.bias`) of the adapter of a
    /// sub-layer, by the sub-layer's number.
    pub fn adapter(stack: Stack, block: usize, layer: usize, part: &str) -> String {
        format!("{stack}.block.{block}.layer.{layer}.adapter.{part}")
    }

    /// `a` or `b` of the LoRA pair on the `projection` `q` or `v` of an attention.
    pub fn lora(stack: Stack, block: usize, kind: Attention, projection: &str, matrix: &str) -> String {
        names::attention(stack, block, kind, &format!("{projection}.lora_{matrix}"))
    }

    /// A module of one task alone.
    pub fn of_task(task: &str, module: &str) -> String {
        format!("task.{task}.{module}")
    }
}

#[cfg(test)]
mod tests;
