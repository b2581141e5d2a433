//! Methods and their hyper-parameters: which sites get which modules, and every tensor that training creates.
//!
//! The list of [`TrainableTensor`]s is the one truth that the trainer creates tensors from, a checkpoint is checked
//! against, and parameters are counted with (names and shapes: reference section 7).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backbone::Family;
use crate::t5::{Attention, Stack, T5Config};
use crate::unipelt::UnipeltBertConfig;

/// A method could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A hyper-parameter does not fit the backbone.
    #[error("`{field}` is {value}, expected {expected}")]
    Value {
        /// The hyper-parameter.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would fit.
        expected: String,
    },
    /// A hyper-parameter is set that the method does not have.
    #[error(
        "`{field}` is {value}, but method `{method}` has no such hyper-parameter\nhint: its own are under `{method}`, written with `_`"
    )]
    Foreign {
        /// The hyper-parameter.
        field: String,
        /// Its value.
        value: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// HyperLoader: generated adapters, LoRA and layer norms (Ortiz-Barajas et al. 2024).
    #[serde(rename = "hyperloader")]
    HyperLoader,
    /// HyperFormer++: generated adapters and layer norms (Mahabadi et al. 2021).
    #[serde(rename = "hyperformer++")]
    HyperFormerPlusPlus,
    /// Gated LoRA, prefix and adapters on a BERT (Mao et al. 2022).
    #[serde(rename = "unipelt-bert")]
    UnipeltBert,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 3] = [Method::HyperLoader, Method::HyperFormerPlusPlus, Method::UnipeltBert];

    /// The name that the command line and files use.
    pub fn name(self) -> &'static str {
        match self {
            Method::HyperLoader => "hyperloader",
            Method::HyperFormerPlusPlus => "hyperformer++",
            Method::UnipeltBert => "unipelt-bert",
        }
    }

    /// The kind of backbone that it runs on.
    pub fn family(self) -> Family {
        match self {
            Method::HyperLoader | Method::HyperFormerPlusPlus => Family::T5,
            Method::UnipeltBert => Family::Bert,
        }
    }

    /// Its published hyper-parameters.
    pub fn preset(self) -> HyperConfig {
        let lora = match self {
            Method::HyperLoader => Some(LoraConfig::default()),
            Method::HyperFormerPlusPlus | Method::UnipeltBert => None,
        };
        HyperConfig { method: self, lora, ..HyperConfig::default() }.completed()
    }
}

/// A named set of hyper-parameters: a method of the paper, or one of HyperLoader's ablations (Table 4).
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its hyper-parameters.
    pub config: HyperConfig,
}

/// All variants.
pub fn variants() -> Vec<Variant> {
    let lora = |lora| HyperConfig { lora: Some(lora), ..HyperConfig::default() };
    let heads = |heads| lora(LoraConfig { heads, ..LoraConfig::default() });
    let without = |adapters| HyperConfig { adapters, ..HyperConfig::default() };
    let list = [
        (Method::HyperLoader.name(), Method::HyperLoader.preset()),
        (Method::HyperFormerPlusPlus.name(), Method::HyperFormerPlusPlus.preset()),
        ("hyperloader-4-lora", heads(LoraHeads::ByAttention)),
        (
            "hyperloader-4-lora-self",
            lora(LoraConfig {
                heads: LoraHeads::ByProjection,
                cross_attention: false,
                ..LoraConfig::default()
            }),
        ),
        ("hyperloader-8-lora", heads(LoraHeads::BySite)),
        ("hyperloader-r16", lora(LoraConfig { rank: 16, ..LoraConfig::default() })),
        ("hyperloader-no-adapters", without(AdapterHeads::None)),
        ("hyperloader-no-adapters-norm-heads", without(AdapterHeads::NormOnly)),
        (
            "hyperloader-paper-embedding",
            HyperConfig { task_embed_dim: 512, site_embed_dim: Some(64), ..HyperConfig::default() },
        ),
    ];
    list.map(|(name, config)| Variant { name, config }).into()
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Hyper-parameters of the hypernetworks (reference sections 1.2 to 1.4 and 6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyperConfig {
    /// The method.
    pub method: Method,
    /// Width of a task's embedding; 64 is what ran, the paper says 512.
    pub task_embed_dim: usize,
    /// Width of layer and position embeddings and of the projector's output; the task embedding's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_embed_dim: Option<usize>,
    /// Hidden width of the projector.
    pub projector_hidden: usize,
    /// `d_model` divided by it is an adapter's bottleneck.
    pub reduction_factor: usize,
    /// Which of the adapters' hypernetworks there are.
    #[serde(skip_serializing_if = "AdapterHeads::is_all")]
    pub adapters: AdapterHeads,
    /// Generated LoRA pairs, if any.
    #[serde(default)]
    pub lora: Option<LoraConfig>,
    /// Added to the generated scale of the norm after each adapter: 0 is what ran, 1 starts at an ordinary norm.
    pub ln_gamma_offset: f64,
    /// Epsilon of the norm after each adapter.
    pub adapter_norm_eps: f64,
    /// Epsilon of the projector's norm.
    pub projector_norm_eps: f64,
    /// Hyper-parameters of `unipelt-bert`, which has none of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unipelt_bert: Option<UnipeltBertConfig>,
}

impl Default for HyperConfig {
    fn default() -> Self {
        Self {
            method: Method::HyperLoader,
            task_embed_dim: 64,
            site_embed_dim: None,
            projector_hidden: 128,
            reduction_factor: 32,
            adapters: AdapterHeads::All,
            lora: Some(LoraConfig::default()),
            ln_gamma_offset: 0.0,
            adapter_norm_eps: 1e-5,
            projector_norm_eps: 1e-6,
            unipelt_bert: None,
        }
    }
}

/// Which of the adapters' hypernetworks there are (paper Table 4, "- Adapters").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterHeads {
    /// Adapters are generated.
    All,
    /// No adapters, but the heads of their norms are kept, though nothing uses what they make: what the paper's count
    /// suggests.
    NormOnly,
    /// No adapters.
    None,
}

impl AdapterHeads {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// Hyper-parameters of the generated LoRA pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank r.
    pub rank: usize,
    /// The product `B A` is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Which sites share a head.
    #[serde(skip_serializing_if = "LoraHeads::is_shared")]
    pub heads: LoraHeads,
    /// Whether cross-attention has pairs too.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub cross_attention: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 8.0, heads: LoraHeads::Shared, cross_attention: true }
    }
}

impl LoraConfig {
    /// Factor of `B A`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Sites of a stack that get a pair.
    pub fn sites(&self, stack: Stack) -> &'static [Site] {
        const ALL: [Site; 4] = [Site::LoraSelfQ, Site::LoraSelfV, Site::LoraCrossQ, Site::LoraCrossV];
        match (stack, self.cross_attention) {
            (Stack::Decoder, true) => &ALL,
            _ => &ALL[..2],
        }
    }

    /// Name of the head that makes a site's `matrix`, `lora_a` or `lora_b`, within its stack's hypernetwork
    /// (reference section 7).
    pub fn head(&self, matrix: &str, site: Site) -> String {
        let attention = match site {
            Site::LoraCrossQ | Site::LoraCrossV => ".cross",
            _ => ".self",
        };
        let projection = match site {
            Site::LoraSelfV | Site::LoraCrossV => ".v",
            _ => ".q",
        };
        let (attention, projection) = match self.heads {
            LoraHeads::Shared => ("", ""),
            LoraHeads::ByAttention => (attention, ""),
            LoraHeads::ByProjection => ("", projection),
            LoraHeads::BySite => (attention, projection),
        };
        format!("{matrix}{attention}{projection}.weight_head.weight")
    }

    /// Names of all heads that make `matrix`. Both stacks have the same, though the encoder has no cross-attention.
    fn heads(&self, matrix: &str) -> Vec<String> {
        let mut heads: Vec<String> =
            self.sites(Stack::Decoder).iter().map(|site| self.head(matrix, *site)).collect();
        heads.sort();
        heads.dedup();
        heads
    }
}

/// Which LoRA sites share a hypernetwork head (paper Table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoraHeads {
    /// One head for A and one for B: HyperLoader's two LoRA hypernetworks.
    Shared,
    /// Self- and cross-attention have their own: four.
    ByAttention,
    /// Queries and values have their own: four.
    ByProjection,
    /// Each site has its own: eight.
    BySite,
}

impl LoraHeads {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// A place of a block that gets generated weights; its number is the row of the position embedding
/// (reference section 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Adapter after the feed-forward layer.
    FeedForwardAdapter = 0,
    /// Adapter after self-attention.
    SelfAttentionAdapter = 1,
    /// LoRA on the queries of self-attention.
    LoraSelfQ = 2,
    /// LoRA on the values of self-attention.
    LoraSelfV = 3,
    /// LoRA on the queries of cross-attention; in the encoder its row exists and is never used.
    LoraCrossQ = 4,
    /// LoRA on the values of cross-attention; in the encoder its row exists and is never used.
    LoraCrossV = 5,
}

impl Site {
    /// Sites that get an adapter.
    pub const ADAPTERS: [Site; 2] = [Site::FeedForwardAdapter, Site::SelfAttentionAdapter];

    /// Row of the position embedding.
    pub fn position(self) -> usize {
        self as usize
    }

    /// The kind of attention that a LoRA site belongs to; `None` for an adapter.
    pub fn attention(self) -> Option<Attention> {
        match self {
            Site::LoraSelfQ | Site::LoraSelfV => Some(Attention::SelfAttention),
            Site::LoraCrossQ | Site::LoraCrossV => Some(Attention::CrossAttention),
            Site::FeedForwardAdapter | Site::SelfAttentionAdapter => None,
        }
    }
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
    /// `hyper.*` (reference section 7), or Hugging Face's name for a tensor of the backbone.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

impl HyperConfig {
    /// With what a configuration may leave open: HyperLoader always has LoRA, `unipelt-bert` its own hyper-parameters.
    pub fn completed(mut self) -> Self {
        if self.method == Method::HyperLoader && self.lora.is_none() {
            self.lora = Some(LoraConfig::default());
        }
        if self.method == Method::UnipeltBert && self.unipelt_bert.is_none() {
            self.unipelt_bert = Some(UnipeltBertConfig::default());
        }
        self
    }

    /// The hyper-parameters of `unipelt-bert`.
    ///
    /// # Errors
    /// If the method is another one, or one of its own hyper-parameters is set.
    pub fn unipelt_bert(&self) -> Result<&UnipeltBertConfig, MethodError> {
        let Some(unipelt) = &self.unipelt_bert else {
            let (value, expected) = ("absent".to_owned(), "a table".to_owned());
            return Err(MethodError::Value { field: "unipelt_bert", value, expected });
        };
        let alone = Self { unipelt_bert: Some(unipelt.clone()), ..Method::UnipeltBert.preset() };
        if *self == alone {
            return Ok(unipelt);
        }
        let fields = |config: &Self| serde_json::to_value(config).unwrap_or_default();
        let (own, alone) = (fields(self), fields(&alone));
        let set = own.as_object().into_iter().flatten().find(|(name, value)| alone[name.as_str()] != **value);
        let (name, value) = set.map_or((String::new(), String::new()), |(n, v)| (n.clone(), v.to_string()));
        Err(MethodError::Foreign { field: name, value, method: Method::UnipeltBert })
    }

    /// Bottleneck of an adapter, `d_model / reduction_factor`.
    pub fn bottleneck(&self, t5: &T5Config) -> usize {
        t5.d_model / self.reduction_factor.max(1)
    }

    /// Rows of a position embedding: 2 for adapters, 2 for LoRA on self-attention, 2 for LoRA on cross-attention.
    pub fn positions(&self) -> usize {
        2 + self.lora.as_ref().map_or(0, |lora| lora.sites(Stack::Decoder).len())
    }

    /// Width of layer and position embeddings and of the projector's output.
    pub fn embed_dim(&self) -> usize {
        self.site_embed_dim.unwrap_or(self.task_embed_dim)
    }

    /// Width of the projector's input: task, layer and position embedding.
    pub fn projector_input(&self) -> usize {
        self.task_embed_dim + 2 * self.embed_dim()
    }

    /// Every tensor that training creates or changes, in a fixed order (equation numbers of the paper do not cover
    /// biases and embeddings; the list follows the reference implementation, section 7).
    pub fn trainable_tensors(&self, t5: &T5Config, tasks: &[String]) -> Vec<TrainableTensor> {
        let mut list = TensorList(Vec::new());
        for task in tasks {
            list.add(names::task_embedding(task), &[self.task_embed_dim], Init::Normal { std: 1.0 });
        }
        for stack in Stack::BOTH {
            self.hypernetwork_tensors(t5, stack, &mut list);
        }
        for name in t5.norms() {
            list.add(name, &[t5.d_model], Init::Backbone);
        }
        list.0
    }

    fn hypernetwork_tensors(&self, t5: &T5Config, stack: Stack, list: &mut TensorList) {
        const SMALL: Init = Init::Normal { std: 0.01 };
        let (e, h, d, b) = (self.embed_dim(), self.projector_hidden, t5.d_model, self.bottleneck(t5));
        let name = |part: &str| names::hypernetwork(stack, part);
        let unit = Init::Normal { std: 1.0 };
        list.add(name("layer_embed.weight"), &[t5.layers(stack), e], unit);
        list.add(name("position_embed.weight"), &[self.positions(), e], unit);
        list.linear(&name("projector.fc1"), [h, self.projector_input()], SMALL);
        list.linear(&name("projector.fc2"), [e, h], SMALL);
        list.add(name("projector.norm.weight"), &[e], Init::Ones);
        list.add(name("projector.norm.bias"), &[e], Init::Zeros);
        if self.adapters == AdapterHeads::All {
            list.linear(&name("adapter_down.weight_head"), [b * d, e], SMALL);
            list.linear(&name("adapter_down.bias_head"), [b, e], SMALL);
            list.linear(&name("adapter_up.weight_head"), [d * b, e], SMALL);
            list.linear(&name("adapter_up.bias_head"), [d, e], SMALL);
        }
        if self.adapters != AdapterHeads::None {
            list.linear(&name("adapter_norm.gamma_head"), [d, e], SMALL);
            list.linear(&name("adapter_norm.beta_head"), [d, e], SMALL);
        }
        if let Some(lora) = &self.lora {
            // Kaiming-uniform with a = sqrt(5) comes to 1/sqrt(fan_in).
            let bound = (e as f64).powf(-0.5);
            for head in lora.heads("lora_a") {
                list.add(name(&head), &[lora.rank * d, e], Init::Uniform { bound });
            }
            for head in lora.heads("lora_b") {
                list.add(name(&head), &[t5.inner_dim() * lora.rank, e], Init::Zeros);
            }
        }
    }

    /// Checks the hyper-parameters against a backbone and the task names.
    ///
    /// # Errors
    /// Names the field or task and what would fit.
    pub fn validate(&self, t5: &T5Config, tasks: &[String]) -> Result<(), MethodError> {
        let value = |field, value: String, expected: &str| {
            Err(MethodError::Value { field, value, expected: expected.to_owned() })
        };
        let d = t5.d_model;
        if self.reduction_factor == 0 || !d.is_multiple_of(self.reduction_factor) {
            let expected = format!("a divisor of the backbone's `d_model` {d}");
            return value("reduction_factor", self.reduction_factor.to_string(), &expected);
        }
        for (field, n) in [
            ("task_embed_dim", self.task_embed_dim),
            ("site_embed_dim", self.embed_dim()),
            ("projector_hidden", self.projector_hidden),
        ] {
            if n == 0 || n > 1 << 16 {
                return value(field, n.to_string(), "a number from 1 to 65536");
            }
        }
        if self.unipelt_bert.is_some() {
            let expected = format!("none: `{}` has no such hyper-parameters", self.method);
            return value("unipelt_bert", "present".into(), &expected);
        }
        if self.method == Method::HyperFormerPlusPlus && self.adapters != AdapterHeads::All {
            return value("adapters", "absent".into(), "all: `hyperformer++` generates nothing else");
        }
        match (self.method, &self.lora) {
            (Method::HyperLoader, None) => return value("lora", "absent".into(), "a table"),
            (Method::HyperFormerPlusPlus, Some(_)) => {
                return value("lora", "present".into(), "none: `hyperformer++` generates no LoRA");
            }
            (_, Some(lora)) if lora.rank == 0 || lora.rank > d => {
                return value("lora.rank", lora.rank.to_string(), "a number from 1 to `d_model`");
            }
            (_, Some(lora)) if !lora.alpha.is_finite() || lora.alpha == 0.0 => {
                return value("lora.alpha", lora.alpha.to_string(), "a number other than 0");
            }
            _ => {}
        }
        check_tasks(tasks)
    }
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

struct TensorList(Vec<TrainableTensor>);

impl TensorList {
    fn add(&mut self, name: String, shape: &[usize], init: Init) {
        self.0.push(TrainableTensor { name, shape: shape.to_vec(), init });
    }

    fn linear(&mut self, name: &str, [out, input]: [usize; 2], init: Init) {
        self.add(format!("{name}.weight"), &[out, input], init);
        self.add(format!("{name}.bias"), &[out], Init::Zeros);
    }
}

/// Names of the hypernetworks' tensors (reference section 7).
pub mod names {
    use crate::t5::Stack;

    /// The embedding of a task, `[task_embed_dim]`.
    pub fn task_embedding(task: &str) -> String {
        format!("hyper.task_embed.{task}")
    }

    /// A part of a stack's hypernetwork: `adapter_up.weight_head.bias`, ...
    pub fn hypernetwork(stack: Stack, part: &str) -> String {
        format!("hyper.{stack}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainable(variant: &str, preset: &str, tasks: usize) -> usize {
        let t5 = T5Config::preset(preset).unwrap();
        let tasks: Vec<String> = (0..tasks).map(|i| format!("task{i}")).collect();
        let config = variants().into_iter().find(|v| v.name == variant).unwrap().config;
        config.validate(&t5, &tasks).unwrap();
        let tensors = config.trainable_tensors(&t5, &tasks);
        tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn trainable_counts_are_those_of_the_authors_logs() {
        assert_eq!(trainable("hyperloader", "t5-base", 7), 6_784_368);
        assert_eq!(trainable("hyperloader", "t5-small", 7), 3_464_800);
        assert_eq!(trainable("hyperformer++", "t5-base", 7), 5_210_992);
        assert_eq!(trainable("hyperformer++", "t5-base", 6), 5_210_928);
        assert_eq!(trainable("hyperformer++", "t5-base", 3), 5_210_736);
        assert_eq!(trainable("hyperformer++", "t5-small", 7), 2_415_712);
    }

    #[test]
    fn trainable_counts_of_the_ablations_are_those_of_reference_section_2_1() {
        for (variant, base, small) in [
            ("hyperloader-4-lora", 8_357_232, 4_513_376),
            ("hyperloader-8-lora", 11_502_960, 6_610_528),
            ("hyperloader-r16", 8_357_232, 4_513_376),
            ("hyperloader-no-adapters", 1_689_408, 1_133_120),
            ("hyperloader-no-adapters-norm-heads", 1_889_088, 1_266_240),
        ] {
            let counts = ["t5-base", "t5-small"].map(|preset| trainable(variant, preset, 7));
            assert_eq!(counts, [base, small], "{variant}");
        }
        assert_eq!(trainable("hyperloader-4-lora-self", "t5-base", 7), 8_356_976);
        assert_eq!(trainable("hyperloader-paper-embedding", "t5-base", 7), 6_902_192);
    }

    #[test]
    fn impossible_hyper_parameters_are_named() {
        let t5 = T5Config::preset("t5-nano").unwrap();
        let tasks = vec!["a".to_owned()];
        let fails =
            |config: HyperConfig, tasks: &[String]| config.validate(&t5, tasks).unwrap_err().to_string();
        let preset = Method::HyperLoader.preset();
        let odd = HyperConfig { reduction_factor: 5, ..preset.clone() };
        assert!(fails(odd, &tasks).contains("`reduction_factor` is 5"));
        let flat =
            HyperConfig { lora: Some(LoraConfig { rank: 0, ..LoraConfig::default() }), ..preset.clone() };
        assert!(fails(flat, &tasks).contains("`lora.rank` is 0"));
        assert!(fails(preset.clone(), &[]).contains("missing"));
        let twice = ["a".to_owned(), "a".to_owned()];
        assert!(fails(preset.clone(), &twice).contains("used twice"));
        assert!(fails(preset, &["a.b".to_owned()]).contains("`a.b`"));
    }
}
