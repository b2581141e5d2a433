//! Adapters, LoRA and UniPELT: the trainable tensors of a task are its modules (docs/reference/baselines.md).

use hyperloader_core::backbone::shape::{BackboneShape, SiteShape};
use hyperloader_core::method::{ModulesConfig, PairConfig, names};
use hyperloader_core::weights::task::{Activation, Adapter, Lora, Placement, TaskWeights};
use tch::Tensor;

use crate::parameters::{MissingTensor, Parameters};

/// The weights of `task`.
pub(super) fn generate(
    method: &ModulesConfig,
    shape: &BackboneShape,
    parameters: &Parameters,
    task: &str,
) -> Result<TaskWeights<Tensor>, MissingTensor> {
    let tensor =
        |module: String| parameters.require(&names::of_task(task, &module)).map(Tensor::shallow_clone);
    let adapter = |activation: Activation, site: &SiteShape| {
        let part = |part| tensor(names::adapter(&site.module, part));
        Ok(Adapter {
            down_weight: part("down.weight")?,
            down_bias: part("down.bias")?,
            up_weight: part("up.weight")?,
            up_bias: part("up.bias")?,
            activation,
            norm: None,
            placement: Placement::AfterDropout,
        })
    };
    let pair = |config: &PairConfig, site: &SiteShape| {
        let matrix = |matrix| tensor(names::lora(&site.module, matrix));
        Ok(Lora { a: matrix("a")?, b: matrix("b")?, scale: config.scale() })
    };
    let mut weights = shape.no_weights();
    for site in &shape.sites {
        let block = &mut weights.blocks_mut(site.stack)[site.block];
        if let (Some(activation), Some(place)) = (method.activation, block.adapter_mut(site.site)) {
            *place = Some(adapter(activation, site)?);
        }
        if let (Some(config), Some(place)) = (&method.lora, block.lora_mut(site.site)) {
            *place = Some(pair(config, site)?);
        }
    }
    Ok(weights)
}
