//! HyperLoader, HyperFormer++ and HyperFormer: hypernetworks generate adapters, norms and LoRA from a task's embedding.

use serde::{Deserialize, Serialize};

use super::error::MethodError;
use super::family::{
    MethodFamily, Sharing, TaskShape, add_classifier, check_lora, check_reduction, check_width,
};
use super::kind::Method;
use super::names;
use super::tensors::{Init, TensorList, TrainableTensor, kaiming};
use crate::backbone::shape::BackboneShape;
use crate::weights::site::{Attention, Site, Stack};

/// Hyper-parameters of the hypernetworks (docs/reference/hyperloader.md#overview,
/// docs/reference/baselines.md#hyperformer-family and docs/reference/decisions.md#switches).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of hyper-parameters")]
pub struct HyperConfig {
    /// The method that was requested.
    pub method: Method,
    /// Width of a task's embedding. The authors ran 64; the paper says 512.
    pub task_embed_dim: usize,
    /// Width of layer and position embeddings and of the projector's output; the task embedding's width if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_embed_dim: Option<usize>,
    /// Hidden width of the projector.
    pub projector_hidden: usize,
    /// The width of the hidden states divided by this is an adapter's bottleneck.
    pub reduction_factor: usize,
    /// Which hypernetwork heads of adapters exist.
    #[serde(skip_serializing_if = "AdapterHeads::is_all")]
    pub adapters: AdapterHeads,
    /// Generated LoRA pairs; absent if the method generates none.
    #[serde(default)]
    pub lora: Option<LoraConfig>,
    /// Added to the generated scale of the norm after each adapter: the authors ran 0; 1 starts at an ordinary
    /// norm.
    pub ln_gamma_offset: f64,
    /// Added to the variance in the norm after each adapter.
    pub adapter_norm_eps: f64,
    /// Added to the variance in the projector's norm.
    pub projector_norm_eps: f64,
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
        }
    }
}

/// Which hypernetwork heads of adapters exist (HyperLoader paper, table 4, "- Adapters").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterHeads {
    /// Adapters are generated.
    All,
    /// No adapters, but the heads of their norms, whose output nothing uses: the paper's parameter count suggests
    /// this.
    NormOnly,
    /// No adapters.
    None,
}

impl AdapterHeads {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// The three methods as published, and HyperLoader's ablations (HyperLoader paper, table 4).
pub(super) fn variants() -> Vec<(&'static str, HyperConfig)> {
    let lora = |lora| HyperConfig { lora: Some(lora), ..HyperConfig::default() };
    let heads = |heads| lora(LoraConfig { heads, ..LoraConfig::default() });
    let without = |adapters| HyperConfig { adapters, ..HyperConfig::default() };
    vec![
        ("hyperloader", HyperConfig::default()),
        ("hyperformer++", HyperConfig::without_lora(Method::HyperFormerPlusPlus)),
        ("hyperformer", HyperConfig::without_lora(Method::HyperFormer)),
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
    ]
}

/// Hyper-parameters of the generated LoRA pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `rank`, `alpha`, `heads`, `cross_attention`")]
pub struct LoraConfig {
    /// Rank r.
    pub rank: usize,
    /// The product `B A` is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Which sites share a head.
    #[serde(skip_serializing_if = "LoraHeads::is_shared")]
    pub heads: LoraHeads,
    /// Whether cross-attention has pairs as well as self-attention.
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

    /// The sites of a stack that get a pair, in the order of their positions.
    pub fn sites(&self, shape: &BackboneShape, stack: Stack) -> Vec<Site> {
        let mut sites = shape.lora_sites(stack);
        sites.retain(|site| self.cross_attention || site.attention() != Some(Attention::CrossAttention));
        sites
    }

    /// The sites that get a pair in any stack.
    fn all_sites(&self, shape: &BackboneShape) -> Vec<Site> {
        let mut sites: Vec<Site> = shape.stacks().flat_map(|stack| self.sites(shape, stack)).collect();
        sites.sort();
        sites.dedup();
        sites
    }

    /// Name of the head that makes a site's `matrix`, `lora_a` or `lora_b`, within its stack's hypernetwork
    /// (docs/reference/checkpoints.md#hypernetworks).
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

    /// Names of all heads that make `matrix`. Both stacks of a T5 have the same, though its encoder has no cross-attention.
    fn heads(&self, shape: &BackboneShape, matrix: &str) -> Vec<String> {
        let sites = self.all_sites(shape);
        let mut heads: Vec<String> = sites.iter().map(|site| self.head(matrix, *site)).collect();
        heads.sort();
        heads.dedup();
        heads
    }
}

/// Which LoRA sites share a hypernetwork head (HyperLoader paper, table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoraHeads {
    /// One head for A and one for B: HyperLoader's two LoRA hypernetworks.
    Shared,
    /// Self- and cross-attention have separate heads: four.
    ByAttention,
    /// Queries and values have separate heads: four.
    ByProjection,
    /// Each site has separate heads: eight.
    BySite,
}

impl LoraHeads {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

impl HyperConfig {
    /// HyperFormer or HyperFormer++ as published.
    fn without_lora(method: Method) -> Self {
        Self { method, lora: None, ..Self::default() }
    }

    /// Fills in what a configuration may leave out: HyperLoader always has LoRA.
    pub fn completed(mut self) -> Self {
        if self.method == Method::HyperLoader && self.lora.is_none() {
            self.lora = Some(LoraConfig::default());
        }
        self
    }

    /// Bottleneck of an adapter on hidden states of `width`: `width / reduction_factor`.
    pub fn bottleneck(&self, width: usize) -> usize {
        width / self.reduction_factor.max(1)
    }

    /// Whether all positions of a layer share one embedding and adapters have separate heads for each position: only in
    /// HyperFormer, not in HyperFormer++ (docs/reference/baselines.md#hyperformer-family).
    pub fn heads_by_site(&self) -> bool {
        self.method == Method::HyperFormer
    }

    /// Rows of a position embedding: 2 for adapters, 2 for LoRA on self-attention, and 2 for LoRA on cross-attention if a
    /// stack of the backbone has it. None where heads tell positions apart.
    pub fn positions(&self, shape: &BackboneShape) -> Option<usize> {
        let lora = self.lora.as_ref().map_or(0, |lora| lora.all_sites(shape).len());
        (!self.heads_by_site()).then_some(2 + lora)
    }

    /// Name of the linear head, such as `weight_head`, of a `module` of the adapters, such as `adapter_down`, within its
    /// stack's hypernetwork.
    pub fn adapter_head(&self, module: &str, head: &str, site: Site) -> String {
        match (self.heads_by_site(), site) {
            (false, _) => format!("{module}.{head}"),
            (true, Site::SelfAttentionAdapter) => format!("{module}.self_attention.{head}"),
            (true, _) => format!("{module}.feed_forward.{head}"),
        }
    }

    /// Width of layer and position embeddings and of the projector's output.
    pub fn embed_dim(&self) -> usize {
        self.site_embed_dim.unwrap_or(self.task_embed_dim)
    }

    /// Width of the projector's input: task, layer and, if there is one, position embedding.
    pub fn projector_input(&self) -> usize {
        self.task_embed_dim + (1 + usize::from(!self.heads_by_site())) * self.embed_dim()
    }
}

impl MethodFamily for HyperConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Embedding
    }

    /// In the order of the reference implementation (docs/reference/checkpoints.md#hypernetworks).
    fn trainable_tensors(&self, shape: &BackboneShape, tasks: &[TaskShape]) -> Vec<TrainableTensor> {
        let mut list = TensorList::default();
        for task in tasks {
            list.add(names::task_embedding(&task.name), &[self.task_embed_dim], Init::Normal { std: 1.0 });
        }
        for stack in shape.stacks() {
            self.hypernetwork_tensors(shape, stack, &mut list);
        }
        for name in &shape.norms {
            list.add(name.clone(), &[shape.width], Init::Backbone);
        }
        for task in tasks {
            add_classifier(shape, task, &mut list);
        }
        list.0
    }

    fn check(&self, shape: &BackboneShape) -> Result<(), MethodError> {
        let value = |field, value: String, expected: &str| {
            Err(MethodError::Value { field, value, expected: expected.to_owned() })
        };
        check_reduction("reduction_factor", self.reduction_factor, shape)?;
        for (field, n) in [
            ("task_embed_dim", self.task_embed_dim),
            ("site_embed_dim", self.embed_dim()),
            ("projector_hidden", self.projector_hidden),
        ] {
            check_width(field, n)?;
        }
        if self.method != Method::HyperLoader && self.adapters != AdapterHeads::All {
            return value(
                "adapters",
                "absent".into(),
                &format!("all: `{}` generates nothing else", self.method),
            );
        }
        match (self.method, &self.lora) {
            (Method::HyperLoader, None) => value("lora", "absent".into(), "a table"),
            (Method::HyperLoader, Some(lora)) => check_lora(lora.rank, lora.alpha, shape),
            (_, None) => Ok(()),
            (method, Some(_)) => {
                value("lora", "present".into(), &format!("none: `{method}` generates no LoRA"))
            }
        }
    }
}

impl HyperConfig {
    fn hypernetwork_tensors(&self, shape: &BackboneShape, stack: Stack, list: &mut TensorList) {
        const SMALL: Init = Init::Normal { std: 0.01 };
        let (e, h, d) = (self.embed_dim(), self.projector_hidden, shape.width);
        let b = self.bottleneck(d);
        let name = |part: &str| names::hypernetwork(stack, part);
        let unit = Init::Normal { std: 1.0 };
        list.add(name("layer_embed.weight"), &[shape.blocks(stack), e], unit);
        if let Some(positions) = self.positions(shape) {
            list.add(name("position_embed.weight"), &[positions, e], unit);
        }
        list.linear(&name("projector.fc1"), [h, self.projector_input()], SMALL);
        list.linear(&name("projector.fc2"), [e, h], SMALL);
        list.add(name("projector.norm.weight"), &[e], Init::Ones);
        list.add(name("projector.norm.bias"), &[e], Init::Zeros);
        let sites = if self.heads_by_site() { &Site::ADAPTERS[..] } else { &Site::ADAPTERS[..1] };
        for site in sites {
            let head = |module, head| name(&self.adapter_head(module, head, *site));
            if self.adapters == AdapterHeads::All {
                list.linear(&head("adapter_down", "weight_head"), [b * d, e], SMALL);
                list.linear(&head("adapter_down", "bias_head"), [b, e], SMALL);
                list.linear(&head("adapter_up", "weight_head"), [d * b, e], SMALL);
                list.linear(&head("adapter_up", "bias_head"), [d, e], SMALL);
            }
            if self.adapters != AdapterHeads::None {
                list.linear(&head("adapter_norm", "gamma_head"), [d, e], SMALL);
                list.linear(&head("adapter_norm", "beta_head"), [d, e], SMALL);
            }
        }
        if let Some(lora) = &self.lora {
            let bound = kaiming(e);
            for head in lora.heads(shape, "lora_a") {
                list.add(name(&head), &[lora.rank * d, e], Init::Uniform { bound });
            }
            for head in lora.heads(shape, "lora_b") {
                list.add(name(&head), &[shape.lora_output() * lora.rank, e], Init::Zeros);
            }
        }
    }
}
