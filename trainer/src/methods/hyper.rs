//! The hypernetworks of HyperLoader, HyperFormer++ and HyperFormer: all weights of a task in a few matrix products per stack
//! (docs/reference/hyperloader.md#embeddings-and-projector, docs/reference/hyperloader.md#hypernetwork-heads,
//! docs/reference/baselines.md#hyperformer-family).

use hyperloader_core::backbone::shape::BackboneShape;
use hyperloader_core::method::{AdapterHeads, HyperConfig, LoraConfig, Site, names};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{
    Activation, Adapter, BlockWeights, LayerNorm, Lora, Placement, TaskWeights,
};
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights of `task`.
pub(super) fn generate(
    config: &HyperConfig,
    shape: &BackboneShape,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    let mut weights = shape.no_weights();
    for stack in shape.stacks() {
        let blocks = weights.blocks_mut(stack);
        Hypernetwork { config, shape, parameters, stack }.generate(task, blocks)?;
    }
    Ok(weights)
}

/// The embeddings I(task, layer, position) of a stack, `[layers, positions, embed_dim]`. HyperFormer has one embedding per
/// layer for all positions (`positions` is 1).
///
/// # Errors
/// If a tensor of the method is missing from `parameters`.
pub fn embeddings(
    config: &HyperConfig,
    shape: &BackboneShape,
    parameters: &Parameters,
    task: &str,
    stack: Stack,
) -> Result<Tensor, MissingTensor> {
    Hypernetwork { config, shape, parameters, stack }.embeddings(task)
}

struct Hypernetwork<'a> {
    config: &'a HyperConfig,
    shape: &'a BackboneShape,
    parameters: &'a Parameters,
    stack: Stack,
}

impl Hypernetwork<'_> {
    fn tensor(&self, name: &str) -> Result<&Tensor, MissingTensor> {
        self.parameters.require(name)
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
        let positions = match self.config.positions(self.shape) {
            Some(_) => Some(self.part("position_embed.weight")?),
            None => None,
        };
        let size = |width| [layers.size()[0], positions.map_or(1, |p| p.size()[0]), width];
        let mut context =
            vec![task.view([1, 1, t]).expand(size(t), false), layers.unsqueeze(1).expand(size(e), false)];
        context.extend(positions.map(|p| p.unsqueeze(0).expand(size(e), false)));
        let context = Tensor::cat(&context, 2);
        let hidden = self.linear(&context, "projector.fc1")?.relu();
        let projected = self.linear(&hidden, "projector.fc2")?;
        let (scale, shift) = (self.part("projector.norm.weight")?, self.part("projector.norm.bias")?);
        let eps = self.config.projector_norm_eps;
        Ok(projected.layer_norm([e], Some(scale), Some(shift), eps, true))
    }

    /// Sets what the hypernetworks make for each of `blocks`.
    fn generate(&self, task: &str, blocks: &mut [BlockWeights<Tensor>]) -> Result<(), MissingTensor> {
        let embeddings = self.embeddings(task)?;
        if self.config.adapters == AdapterHeads::All {
            self.adapters(&embeddings, blocks)?;
        }
        match &self.config.lora {
            Some(lora) => self.loras(&embeddings, lora, blocks),
            None => Ok(()),
        }
    }

    fn adapters(
        &self,
        embeddings: &Tensor,
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        let config = self.config;
        // Adjacent sites that share their heads are generated in one product.
        let together = |_: &Site, _: &Site| !config.heads_by_site();
        for sites in Site::ADAPTERS.chunk_by(together) {
            let mut adapters = self.adapters_of(embeddings, sites)?.into_iter();
            for block in &mut *blocks {
                for site in sites {
                    if let Some(place) = block.adapter_mut(*site) {
                        *place = adapters.next();
                    }
                }
            }
        }
        Ok(())
    }

    /// The adapters of `sites`, which share their heads: those of the first block in the order of `sites`, then the next.
    fn adapters_of(
        &self,
        embeddings: &Tensor,
        sites: &[Site],
    ) -> Result<Vec<Adapter<Tensor>>, MissingTensor> {
        let (d, b) = (self.shape.width as i64, self.config.bottleneck(self.shape.width) as i64);
        let rows = match self.config.heads_by_site() {
            true => embeddings.squeeze_dim(1),
            false => rows_of(embeddings, sites),
        };
        let make = |module, head, shape: &[i64]| {
            let shape = [&[rows.size()[0]], shape].concat();
            let part = self.config.adapter_head(module, head, sites[0]);
            Ok(self.linear(&rows, &part)?.view(shape.as_slice()))
        };
        let down_weight = make("adapter_down", "weight_head", &[b, d])?.unbind(0);
        let down_bias = make("adapter_down", "bias_head", &[b])?.unbind(0);
        let up_weight = make("adapter_up", "weight_head", &[d, b])?.unbind(0);
        let up_bias = make("adapter_up", "bias_head", &[d])?.unbind(0);
        let gamma = make("adapter_norm", "gamma_head", &[d])? + self.config.ln_gamma_offset;
        let norms = gamma.unbind(0).into_iter().zip(make("adapter_norm", "beta_head", &[d])?.unbind(0));
        let down = down_weight.into_iter().zip(down_bias);
        let up = up_weight.into_iter().zip(up_bias);
        let adapter = |(((down_weight, down_bias), (up_weight, up_bias)), (gamma, beta))| Adapter {
            down_weight,
            down_bias,
            up_weight,
            up_bias,
            activation: Activation::GeluNew,
            norm: Some(LayerNorm { gamma, beta, eps: self.config.adapter_norm_eps }),
            placement: Placement::BeforeDropout,
        };
        Ok(down.zip(up).zip(norms).map(adapter).collect())
    }

    fn loras(
        &self,
        embeddings: &Tensor,
        lora: &LoraConfig,
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        // Adjacent sites that share their heads are generated in one product. Variants differ in which sites share.
        let sites = lora.sites(self.shape, self.stack);
        let together = |a: &Site, b: &Site| lora.head("lora_a", *a) == lora.head("lora_a", *b);
        for sites in sites.chunk_by(together) {
            self.loras_of(embeddings, lora, sites, blocks)?;
        }
        Ok(())
    }

    /// The LoRA pairs of `sites`, which share their heads.
    fn loras_of(
        &self,
        embeddings: &Tensor,
        lora: &LoraConfig,
        sites: &[Site],
        blocks: &mut [BlockWeights<Tensor>],
    ) -> Result<(), MissingTensor> {
        let (d, inner, rank) = (self.shape.width as i64, self.shape.lora_output() as i64, lora.rank as i64);
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
                if let Some(place) = block.lora_mut(site) {
                    *place = pair;
                }
            }
        }
        Ok(())
    }
}

/// The embeddings of adjacent `sites`, one row per layer and site: `[layers * sites, e]`.
fn rows_of(embeddings: &Tensor, sites: &[Site]) -> Tensor {
    let first = sites.iter().map(|s| s.position()).min().unwrap_or_default();
    let e = embeddings.size()[2];
    embeddings.narrow(1, first as i64, sites.len() as i64).reshape([-1, e])
}
