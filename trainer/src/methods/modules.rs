//! Adapters, LoRA and UniPELT: a task's modules are its tensors as they are (reference sections 5.2 to 5.4).

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::shape::SiteShape;
use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{ModulesConfig, PairConfig, names};
use hyperloader_core::weights::task::{Activation, Adapter, Lora, Placement, TaskWeights};
use tch::Tensor;

use super::{Generates, MissingTensor, plain, required};
use crate::parameters::Parameters;

impl Generates for ModulesConfig {
    fn generate(
        &self,
        t5: &T5Config,
        parameters: &Parameters,
        task: &str,
    ) -> Result<TaskWeights<Tensor>, MissingTensor> {
        let tensor = |module: String| required(parameters, &names::of_task(task, &module));
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
        let mut weights = plain(t5);
        for site in &t5.shape().sites {
            let block = &mut weights.blocks_mut(site.stack)[site.block];
            if let (Some(activation), Some(place)) = (self.activation, block.adapter_mut(site.site)) {
                *place = Some(adapter(activation, site)?);
            }
            if let (Some(config), Some(place)) = (&self.lora, block.lora_mut(site.site)) {
                *place = Some(pair(config, site)?);
            }
        }
        Ok(weights)
    }
}
