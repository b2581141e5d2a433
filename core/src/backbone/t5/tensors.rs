//! Names and shapes of T5's tensors, and its shape as methods see it.

use std::collections::BTreeMap;

use super::config::T5Config;
use super::names;
use crate::backbone::kind::BackboneKind;
use crate::backbone::shape::{BackboneShape, SiteShape};
use crate::backbone::{BackboneConfig, ConfigError};
use crate::weights::site::{Attention, Site, Stack};

impl T5Config {
    /// Name and shape of every tensor of a checkpoint, Hugging Face's names, linear weights `[out, in]`.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, ff, inner) = (self.d_model, self.d_ff, self.inner_dim());
        let table = vec![self.relative_attention_num_buckets, self.num_heads];
        let mut all = BTreeMap::from([(names::SHARED.to_owned(), vec![self.vocab_size, d])]);
        if !self.tie_word_embeddings {
            all.insert(names::LM_HEAD.to_owned(), vec![self.vocab_size, d]);
        }
        for stack in Stack::BOTH {
            for block in 0..self.layers(stack) {
                for kind in Attention::of(stack) {
                    for part in ["q", "k", "v"] {
                        all.insert(names::attention(stack, block, *kind, part), vec![inner, d]);
                    }
                    all.insert(names::attention(stack, block, *kind, "o"), vec![d, inner]);
                    all.insert(names::attention_norm(stack, block, *kind), vec![d]);
                }
                let inner: &[&str] =
                    if self.feed_forward_proj.is_gated() { &["wi_0", "wi_1"] } else { &["wi"] };
                for part in inner {
                    all.insert(names::feed_forward(stack, block, part), vec![ff, d]);
                }
                all.insert(names::feed_forward(stack, block, "wo"), vec![d, ff]);
                all.insert(names::feed_forward_norm(stack, block), vec![d]);
            }
            all.insert(names::relative_bias(stack, Attention::SelfAttention), table.clone());
            all.insert(names::final_norm(stack), vec![d]);
        }
        if self.cross_attention_relative_bias {
            all.insert(names::relative_bias(Stack::Decoder, Attention::CrossAttention), table);
        }
        all
    }

    /// Names of all RMS-norm scales, sorted (docs/reference/hyperloader.md#trainable-tensors).
    pub fn norms(&self) -> Vec<String> {
        self.tensors().into_keys().filter(|n| n.ends_with("layer_norm.weight")).collect()
    }

    fn block_sites(&self, stack: Stack, block: usize, sites: &mut Vec<SiteShape>) {
        let (d, inner) = (self.d_model, self.inner_dim());
        let mut add = |site, module, output| {
            sites.push(SiteShape { stack, block, site, module, input: d, output });
        };
        let last = names::feed_forward_layer(stack);
        add(Site::SelfAttentionAdapter, names::sub_layer(stack, block, 0), d);
        add(Site::FeedForwardAdapter, names::sub_layer(stack, block, last), d);
        for kind in Attention::of(stack) {
            let [q, v] = match kind {
                Attention::SelfAttention => [Site::LoraSelfQ, Site::LoraSelfV],
                Attention::CrossAttention => [Site::LoraCrossQ, Site::LoraCrossV],
            };
            add(q, names::projection(stack, block, *kind, "q"), inner);
            add(v, names::projection(stack, block, *kind, "v"), inner);
        }
    }
}

impl BackboneConfig for T5Config {
    fn kind(&self) -> BackboneKind {
        BackboneKind::T5
    }

    fn shape(&self) -> BackboneShape {
        let mut sites = Vec::new();
        for stack in Stack::BOTH {
            (0..self.layers(stack)).for_each(|block| self.block_sites(stack, block, &mut sites));
        }
        BackboneShape {
            kind: BackboneKind::T5,
            width: self.d_model,
            width_field: "d_model",
            sites,
            tensors: self.tensors(),
            norms: self.norms(),
            classifies: false,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.validate()
    }

    fn longest_source(&self) -> Option<(&'static str, usize)> {
        None
    }

    fn pad_token_id(&self) -> i64 {
        self.pad_token_id
    }

    fn set_dropout(&mut self, rate: f64) {
        self.dropout_rate = rate;
    }

    fn fields(&self) -> serde_json::Value {
        let mut fields = serde_json::to_value(self).unwrap_or_default();
        fields.as_object_mut().map(|fields| fields.remove("dropout_rate"));
        fields
    }
}
