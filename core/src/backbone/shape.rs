//! The shape of a backbone as training methods see it: stacks of blocks, the sites of each block, and all tensors.

use std::collections::BTreeMap;

use super::kind::BackboneKind;
use crate::weights::site::{Site, Stack};
use crate::weights::task::TaskWeights;

/// A site of one block, with its widths and the name of its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteShape {
    /// The stack of the block.
    pub stack: Stack,
    /// The block, from 0.
    pub block: usize,
    /// The site within the block.
    pub site: Site,
    /// The backbone's name of the module at the site: of the projection that LoRA updates, or of the sub-layer whose
    /// output an adapter reads. Names of a method's tensors begin with it.
    pub module: String,
    /// Width of what the module at the site reads, or of an adapter's states.
    pub input: usize,
    /// Width of what it gives.
    pub output: usize,
}

/// The shape of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneShape {
    /// The kind of backbone.
    pub kind: BackboneKind,
    /// Width of the hidden states: `d_model` of a T5, `hidden_size` of a BERT.
    pub width: usize,
    /// The name of that width in `config.json`, for messages.
    pub width_field: &'static str,
    /// All sites: by stack, block, and within a block adapter after attention, adapter after feed-forward, LoRA on
    /// queries and values of self-attention, then of cross-attention.
    pub sites: Vec<SiteShape>,
    /// Name and shape of every tensor, linear weights `[out, in]`.
    pub tensors: BTreeMap<String, Vec<usize>>,
    /// Names of the tensors of all norms, sorted.
    pub norms: Vec<String>,
    /// Whether each task has a token classifier after the last block. A T5 writes tags as text and has none.
    pub classifies: bool,
}

impl BackboneShape {
    /// The stacks that the backbone has, encoder first.
    pub fn stacks(&self) -> impl Iterator<Item = Stack> + '_ {
        Stack::BOTH.into_iter().filter(|stack| self.blocks(*stack) > 0)
    }

    /// Number of blocks of a stack; 0 if the backbone lacks the stack.
    pub fn blocks(&self, stack: Stack) -> usize {
        let of_stack = self.sites.iter().filter(|site| site.stack == stack);
        of_stack.map(|site| site.block + 1).max().unwrap_or(0)
    }

    /// No weights of a task: the backbone as it was pretrained.
    pub fn no_weights<T>(&self) -> TaskWeights<T> {
        TaskWeights::none(self.blocks(Stack::Encoder), self.blocks(Stack::Decoder))
    }

    /// The sites that get an adapter.
    pub fn adapters(&self) -> impl Iterator<Item = &SiteShape> {
        self.sites.iter().filter(|site| site.site.attention().is_none())
    }

    /// The sites that get a LoRA pair.
    pub fn loras(&self) -> impl Iterator<Item = &SiteShape> {
        self.sites.iter().filter(|site| site.site.attention().is_some())
    }

    /// The sites of a stack's blocks that get a LoRA pair, in the order of their positions; empty if the backbone lacks the
    /// stack.
    pub fn lora_sites(&self, stack: Stack) -> Vec<Site> {
        let of_first = self.loras().filter(|site| site.stack == stack && site.block == 0);
        of_first.map(|site| site.site).collect()
    }

    /// Width of what the projections at LoRA sites give: `num_heads * d_kv` of a T5, `hidden_size` of a BERT.
    pub fn lora_output(&self) -> usize {
        self.loras().map(|site| site.output).next().unwrap_or(self.width)
    }
}
