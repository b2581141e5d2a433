//! Adapters, LoRA and UniPELT: the trained modules of a task at their sites in a backbone
//! (`docs/reference/baselines.md#adapters`, `docs/reference/baselines.md#lora` and
//! `docs/reference/baselines.md#unipelt-on-t5`).

use hyperloader_core::backbone::shape::{BackboneShape, SiteShape};
use hyperloader_core::method::{ModulesConfig, names};
use hyperloader_core::weights::task::{Adapter, Lora, Placement, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use super::{MaterialiseError, Materialises, tensor};

impl Materialises for ModulesConfig {
    fn task_weights(
        &self,
        shape: &BackboneShape,
        checkpoint: &Tensors,
        task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
        let modules = TaskModules { config: self, checkpoint, task };
        let mut weights = shape.no_weights();
        for site in &shape.sites {
            let block = &mut weights.blocks_mut(site.stack)[site.block];
            if let Some(place) = block.adapter_mut(site.site) {
                *place = modules.adapter(site)?;
            }
            if let Some(place) = block.lora_mut(site.site) {
                *place = modules.pair(site)?;
            }
        }
        Ok(weights)
    }
}

/// Reads the modules of one task.
struct TaskModules<'a> {
    config: &'a ModulesConfig,
    checkpoint: &'a Tensors,
    task: &'a str,
}

impl TaskModules<'_> {
    fn tensor(&self, module: String, shape: &[usize]) -> Result<HostTensor, MaterialiseError> {
        Ok(tensor(self.checkpoint, &names::of_task(self.task, &module), shape)?.clone())
    }

    fn adapter(&self, site: &SiteShape) -> Result<Option<Adapter<HostTensor>>, MaterialiseError> {
        let (Some(b), Some(activation)) = (self.config.bottleneck(site.input), self.config.activation) else {
            return Ok(None);
        };
        let part = |part, shape: &[usize]| self.tensor(names::adapter(&site.module, part), shape);
        Ok(Some(Adapter {
            down_weight: part("down.weight", &[b, site.input])?,
            down_bias: part("down.bias", &[b])?,
            up_weight: part("up.weight", &[site.output, b])?,
            up_bias: part("up.bias", &[site.output])?,
            activation,
            norm: None,
            placement: Placement::AfterDropout,
        }))
    }

    fn pair(&self, site: &SiteShape) -> Result<Option<Lora<HostTensor>>, MaterialiseError> {
        let Some(lora) = &self.config.lora else { return Ok(None) };
        let matrix = |name, shape: [usize; 2]| self.tensor(names::lora(&site.module, name), &shape);
        Ok(Some(Lora {
            a: matrix("a", [lora.rank, site.input])?,
            b: matrix("b", [site.output, lora.rank])?,
            scale: lora.scale(),
        }))
    }
}
