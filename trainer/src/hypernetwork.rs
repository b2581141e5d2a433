//! The hypernetworks of HyperLoader and HyperFormer++ (reference sections 1.2 and 1.3): all weights of a task in a few
//! matrix products for each stack.

use hyperloader_core::method::{AdapterHeads, HyperConfig, LoraConfig, Site, names};
use hyperloader_core::t5::{Stack, T5Config};
use hyperloader_core::task_weights::{Activation, Adapter, BlockWeights, LayerNorm, Lora, TaskWeights};
use tch::Tensor;

use crate::parameters::Parameters;

/// A trainable tensor of the method is missing.
#[derive(Debug, thiserror::Error)]
#[error("trainable tensor `{0}` is missing")]
pub struct MissingTensor(pub String);

/// What the hypernetworks make of `task`.
///
/// # Errors
/// If a tensor of the method is missing from `parameters`.
pub fn generate(
    config: &HyperConfig,
    t5: &T5Config,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    let stack = |stack| {
        let network = Hypernetwork { config, t5, parameters, stack };
        network.generate(task)
    };
    Ok(TaskWeights { encoder: stack(Stack::Encoder)?, decoder: stack(Stack::Decoder)? })
}

/// The embeddings I(task, layer, position) of a stack, `[layers, positions, embed_dim]`.
///
/// # Errors
/// If a tensor of the method is missing from `parameters`.
pub fn embeddings(
    config: &HyperConfig,
    t5: &T5Config,
    parameters: &Parameters,
    task: &str,
    stack: Stack,
) -> Result<Tensor, MissingTensor> {
    Hypernetwork { config, t5, parameters, stack }.embeddings(task)
}

struct Hypernetwork<'a> {
    config: &'a HyperConfig,
    t5: &'a T5Config,
    parameters: &'a Parameters,
    stack: Stack,
}

impl Hypernetwork<'_> {
    fn tensor(&self, name: &str) -> Result<&Tensor, MissingTensor> {
        self.parameters.get(name).ok_or_else(|| MissingTensor(name.to_owned()))
    }

    fn part(&self, part: &str) -> Result<&Tensor, MissingTensor> {
        self.tensor(&names::hypernetwork(self.stack, part))
    }

    /// A linear map with bias.
    fn linear(&self, x: &Tensor, part: &str) -> Result<Tensor, MissingTensor> {
        let bias = self.part(&format!("{part}.bias"))?;
        Ok(x.linear(self.part(&format!("{part}.weight"))?, Some(bias)))
    }

    fn embeddings(&self, task: &str) -> Result<Tensor, MissingTensor> {
        let (t, e) = (self.config.task_embed_dim as i64, self.config.embed_dim() as i64);
        let task = self.tensor(&names::task_embedding(task))?;
        let layers = self.part("layer_embed.weight")?;
        let positions = self.part("position_embed.weight")?;
        let size = |width| [layers.size()[0], positions.size()[0], width];
        let context = Tensor::cat(
            &[
                task.view([1, 1, t]).expand(size(t), false),
                layers.unsqueeze(1).expand(size(e), false),
                positions.unsqueeze(0).expand(size(e), false),
            ],
            2,
        );
        let hidden = self.linear(&context, "projector.fc1")?.relu();
        let projected = self.linear(&hidden, "projector.fc2")?;
        let (scale, shift) = (self.part("projector.norm.weight")?, self.part("projector.norm.bias")?);
        let eps = self.config.projector_norm_eps;
        Ok(projected.layer_norm([e], Some(scale), Some(shift), eps, true))
    }

    fn generate(&self, task: &str) -> Result<Vec<BlockWeights<Tensor>>, MissingTensor> {
        let embeddings = self.embeddings(task)?;
        let layers = self.t5.layers(self.stack);
        let mut blocks: Vec<_> = std::iter::repeat_with(BlockWeights::default).take(layers).collect();
        if self.config.adapters == AdapterHeads::All {
            self.adapters(&embeddings, &mut blocks)?;
        }
        if let Some(lora) = &self.config.lora {
            self.loras(&embeddings, lora, &mut blocks)?;
        }
        Ok(blocks)
    }

    fn adapters(
        &self,
        embeddings: &Tensor,
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        let (d, b) = (self.t5.d_model as i64, self.config.bottleneck(self.t5) as i64);
        let rows = rows_of(embeddings, &Site::ADAPTERS);
        let make = |part, shape: &[i64]| {
            let shape = [&[rows.size()[0]], shape].concat();
            Ok(self.linear(&rows, part)?.view(shape.as_slice()).unbind(0).into_iter())
        };
        let mut down_weight = make("adapter_down.weight_head", &[b, d])?;
        let mut down_bias = make("adapter_down.bias_head", &[b])?;
        let mut up_weight = make("adapter_up.weight_head", &[d, b])?;
        let mut up_bias = make("adapter_up.bias_head", &[d])?;
        let gamma = self.linear(&rows, "adapter_norm.gamma_head")? + self.config.ln_gamma_offset;
        let mut gamma = gamma.unbind(0).into_iter();
        let mut beta = make("adapter_norm.beta_head", &[d])?;
        let mut next = || {
            Some(Adapter {
                down_weight: down_weight.next()?,
                down_bias: down_bias.next()?,
                up_weight: up_weight.next()?,
                up_bias: up_bias.next()?,
                activation: Activation::GeluNew,
                norm: Some(LayerNorm {
                    gamma: gamma.next()?,
                    beta: beta.next()?,
                    eps: self.config.adapter_norm_eps,
                }),
            })
        };
        // In the order of `Site::ADAPTERS`.
        for block in blocks {
            block.feed_forward_adapter = next();
            block.self_attention_adapter = next();
        }
        Ok(())
    }

    fn loras(
        &self,
        embeddings: &Tensor,
        lora: &LoraConfig,
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        // Neighbours that share their heads are made in one product; which ones those are differs between variants.
        let sites = lora.sites(self.stack);
        let together = |a: &Site, b: &Site| lora.head("lora_a", *a) == lora.head("lora_a", *b);
        for sites in sites.chunk_by(together) {
            self.loras_of(embeddings, lora, sites, blocks)?;
        }
        Ok(())
    }

    /// The pairs of `sites`, which share their heads.
    fn loras_of(
        &self,
        embeddings: &Tensor,
        lora: &LoraConfig,
        sites: &[Site],
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        let (d, inner, rank) = (self.t5.d_model as i64, self.t5.inner_dim() as i64, lora.rank as i64);
        let rows = rows_of(embeddings, sites);
        let make = |matrix, shape: [i64; 2]| {
            let generated = rows.linear(self.part(&lora.head(matrix, sites[0]))?, None::<&Tensor>);
            Ok(generated.view([rows.size()[0], shape[0], shape[1]]).unbind(0).into_iter())
        };
        let a = make("lora_a", [rank, d])?;
        let mut pairs = a.zip(make("lora_b", [inner, rank])?);
        for block in blocks {
            for &site in sites {
                let pair = pairs.next().map(|(a, b)| Lora { a, b, scale: lora.scale() });
                match site {
                    Site::LoraSelfQ => block.self_attention.q = pair,
                    Site::LoraSelfV => block.self_attention.v = pair,
                    Site::LoraCrossQ => block.cross_attention.q = pair,
                    Site::LoraCrossV => block.cross_attention.v = pair,
                    Site::FeedForwardAdapter | Site::SelfAttentionAdapter => {}
                }
            }
        }
        Ok(())
    }
}

/// The embeddings of `sites`, which are neighbours, one row for each layer and site: `[layers * sites, e]`.
fn rows_of(embeddings: &Tensor, sites: &[Site]) -> Tensor {
    let first = sites.iter().map(|s| s.position()).min().unwrap_or_default();
    let e = embeddings.size()[2];
    embeddings.narrow(1, first as i64, sites.len() as i64).reshape([-1, e])
}
