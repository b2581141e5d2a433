//! Names and shapes of BERT's tensors, and its shape as methods see it.

use std::collections::BTreeMap;

use super::config::BertConfig;
use super::names;
use crate::backbone::kind::BackboneKind;
use crate::backbone::shape::{BackboneShape, SiteShape};
use crate::backbone::{BackboneConfig, ConfigError};
use crate::weights::site::{Site, Stack};

impl BertConfig {
    /// Name and shape of every tensor of the encoder, Hugging Face's names, linear weights `[out, in]`.
    pub fn tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let mut all = BTreeMap::from([
            (names::WORDS.to_owned(), vec![self.vocab_size, d]),
            (names::POSITIONS.to_owned(), vec![self.max_position_embeddings, d]),
            (names::TYPES.to_owned(), vec![self.type_vocab_size, d]),
        ]);
        let mut pair = |name: &str, shape: &[usize]| {
            all.insert(format!("{name}.weight"), shape.to_vec());
            all.insert(format!("{name}.bias"), shape[..1].to_vec());
        };
        pair(names::EMBEDDING_NORM, &[d]);
        for layer in 0..self.num_hidden_layers {
            let mut part = |part, shape: &[usize]| pair(&names::layer(layer, part), shape);
            for projection in [names::QUERY, names::KEY, names::VALUE, names::ATTENTION_OUTPUT] {
                part(projection, &[d, d]);
            }
            part(names::ATTENTION_NORM, &[d]);
            part(names::INTERMEDIATE, &[inner, d]);
            part(names::OUTPUT, &[d, inner]);
            part(names::OUTPUT_NORM, &[d]);
        }
        all
    }
}

impl BackboneConfig for BertConfig {
    fn kind(&self) -> BackboneKind {
        BackboneKind::Bert
    }

    fn shape(&self) -> BackboneShape {
        let d = self.hidden_size;
        let parts = [
            (Site::SelfAttentionAdapter, names::ATTENTION),
            (Site::FeedForwardAdapter, names::FEED_FORWARD),
            (Site::LoraSelfQ, names::QUERY),
            (Site::LoraSelfV, names::VALUE),
        ];
        let site = |block, (site, part)| SiteShape {
            stack: Stack::Encoder,
            block,
            site,
            module: names::layer(block, part),
            input: d,
            output: d,
        };
        let sites = (0..self.num_hidden_layers).flat_map(|block| parts.map(|part| site(block, part)));
        let sites = sites.collect();
        let tensors = self.tensors();
        let norms = tensors.keys().filter(|name| name.contains("LayerNorm.")).cloned().collect();
        BackboneShape {
            kind: BackboneKind::Bert,
            width: d,
            width_field: "hidden_size",
            sites,
            tensors,
            norms,
            classifies: true,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.validate()
    }

    fn longest_source(&self) -> Option<(&'static str, usize)> {
        Some(("max_position_embeddings", self.max_position_embeddings))
    }

    fn pad_token_id(&self) -> i64 {
        self.pad_token_id
    }

    fn set_dropout(&mut self, rate: f64) {
        self.hidden_dropout_prob = rate;
        self.attention_probs_dropout_prob = rate;
    }

    fn fields(&self) -> serde_json::Value {
        let mut fields = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|name, _| !name.ends_with("dropout_prob"));
        }
        fields
    }
}
