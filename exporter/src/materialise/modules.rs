//! Adapters, LoRA and UniPELT: the trained modules of a task at their places in T5
//! (`docs/reference/baselines.md#adapters`, `docs/reference/baselines.md#lora` and
//! `docs/reference/baselines.md#unipelt-on-t5`).

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config};
use hyperloader_core::method::{ModulesConfig, names};
use hyperloader_core::weights::task::{Adapter, Lora, Placement, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};

use super::{MaterialiseError, Materialises, plain, tensor};

impl Materialises for ModulesConfig {
    fn task_weights(
        &self,
        t5: &T5Config,
        checkpoint: &Tensors,
        task: &str,
    ) -> Result<TaskWeights<HostTensor>, MaterialiseError> {
        let modules = TaskModules { config: self, t5, checkpoint, task };
        let mut weights = plain(t5);
        for stack in Stack::BOTH {
            let last = Attention::of(stack).len();
            for (block, weights) in weights.blocks_mut(stack).iter_mut().enumerate() {
                weights.self_attention_adapter = modules.adapter((stack, block), 0)?;
                weights.feed_forward_adapter = modules.adapter((stack, block), last)?;
                for kind in Attention::of(stack) {
                    let attention = weights.attention_mut(*kind);
                    attention.q = modules.pair((stack, block), *kind, "q")?;
                    attention.v = modules.pair((stack, block), *kind, "v")?;
                }
            }
        }
        Ok(weights)
    }
}

/// Reads the modules of one task.
struct TaskModules<'a> {
    config: &'a ModulesConfig,
    t5: &'a T5Config,
    checkpoint: &'a Tensors,
    task: &'a str,
}

impl TaskModules<'_> {
    fn tensor(&self, module: String, shape: &[usize]) -> Result<HostTensor, MaterialiseError> {
        Ok(tensor(self.checkpoint, &names::of_task(self.task, &module), shape)?.clone())
    }

    fn adapter(
        &self,
        (stack, block): (Stack, usize),
        layer: usize,
    ) -> Result<Option<Adapter<HostTensor>>, MaterialiseError> {
        let (Some(b), Some(activation)) = (self.config.bottleneck(self.t5), self.config.activation) else {
            return Ok(None);
        };
        let d = self.t5.d_model;
        let part = |part, shape: &[usize]| self.tensor(names::adapter(stack, block, layer, part), shape);
        Ok(Some(Adapter {
            down_weight: part("down.weight", &[b, d])?,
            down_bias: part("down.bias", &[b])?,
            up_weight: part("up.weight", &[d, b])?,
            up_bias: part("up.bias", &[d])?,
            activation,
            norm: None,
            placement: Placement::AfterDropout,
        }))
    }

    fn pair(
        &self,
        (stack, block): (Stack, usize),
        kind: Attention,
        projection: &str,
    ) -> Result<Option<Lora<HostTensor>>, MaterialiseError> {
        let Some(lora) = &self.config.lora else { return Ok(None) };
        let matrix =
            |name, shape: [usize; 2]| self.tensor(names::lora(stack, block, kind, projection, name), &shape);
        Ok(Some(Lora {
            a: matrix("a", [lora.rank, self.t5.d_model])?,
            b: matrix("b", [self.t5.inner_dim(), lora.rank])?,
            scale: lora.scale(),
        }))
    }
}
