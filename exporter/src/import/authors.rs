//! HyperLoader and HyperFormer++ as their authors save them: all tensors of the model, with the hypernetworks among them
//! (docs/reference/checkpoints.md#hypernetworks).

use std::path::{Path, PathBuf};

use hyperloader_core::method::{HyperConfig, LoraConfig, Method, names};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::tensors::Tensors;

use super::error::ImportError;
use super::folder::make_backbone;
use super::foreign::{Foreign, Import};
use crate::error::ExportError;

/// Before the name of a task.
const TASKS: &str = "task_embedding_controller.task_to_embeddings.";
/// Before the parts of a stack's hypernetwork, after the name of the stack.
const NETWORK: &str = "adapter_layers_hyper_net";

/// The parts of a hypernetwork: theirs and ours, without `.weight` and `.bias`.
const PARTS: [(&str, &str); 13] = [
    ("layer_id_embeddings", "layer_embed"),
    ("adapters_block_type", "position_embed"),
    ("task_hypernet.task_embeding_generator.0", "projector.fc1"),
    ("task_hypernet.task_embeding_generator.2", "projector.fc2"),
    ("LayerNorm", "projector.norm"),
    ("down_sampler_hyper_net.weight_generator.0", "adapter_down.weight_head"),
    ("down_sampler_hyper_net.bias_generator.0", "adapter_down.bias_head"),
    ("up_sampler_hyper_net.weight_generator.0", "adapter_up.weight_head"),
    ("up_sampler_hyper_net.bias_generator.0", "adapter_up.bias_head"),
    ("post_layernorm_hypernet.weight_generator", "adapter_norm.gamma_head"),
    ("post_layernorm_hypernet.bias_generator", "adapter_norm.beta_head"),
    ("lora_a_hyper_net.weight_generator.0", "lora_a.weight_head"),
    ("lora_b_hyper_net.weight_generator.0", "lora_b.weight_head"),
];

/// Whether a tensor of this name is part of a hypernetwork.
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with(TASKS)
}

/// Takes the hypernetworks out of `tensors`, which were read from `file`; the rest is the backbone.
pub(super) fn read(import: &Import, tensors: Tensors, file: PathBuf) -> Result<Foreign, ExportError> {
    let tasks: Vec<&str> = tensors.keys().filter_map(|name| name.strip_prefix(TASKS)).collect();
    if !tasks.contains(&import.task.as_str()) {
        let known = tasks.iter().map(|task| format!("`{task}`")).collect::<Vec<_>>().join(", ");
        return Err(ImportError::Task { file, task: import.task.clone(), known }.into());
    }
    let (mut ours, mut of_backbone) = (Tensors::new(), Tensors::new());
    for (theirs, tensor) in tensors {
        match name(&theirs) {
            // Other tasks are other runs.
            Some(name) if theirs.starts_with(TASKS) && name != names::task_embedding(&import.task) => {}
            Some(name) => drop(ours.insert(name, tensor)),
            None => drop(of_backbone.insert(theirs, tensor)),
        }
    }
    let method = method(&ours, &file)?;
    let made = make_backbone(import, &of_backbone)?;
    // The norms are trained. The exporter takes them from the checkpoint.
    ours.extend(
        of_backbone.iter().filter(|(name, _)| is_norm(name)).map(|(name, norm)| (name.clone(), norm.clone())),
    );
    let bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    Ok(Foreign {
        origin: "hypernetworks of HyperLoader's authors",
        method: method.into(),
        tensors: ours,
        backbone: made.path().to_owned(),
        made: Some(made),
        cross_attention_relative_bias: of_backbone
            .get(bias)
            .is_some_and(|bias| bias.iter().any(|x| *x != 0.0)),
        file,
    })
}

fn is_norm(name: &str) -> bool {
    name.ends_with("layer_norm.weight")
}

/// Our name of a tensor of a hypernetwork; none for one of the backbone.
fn name(theirs: &str) -> Option<String> {
    if let Some(task) = theirs.strip_prefix(TASKS) {
        return Some(names::task_embedding(task));
    }
    let (stack, rest) = theirs.split_once('.')?;
    let stack = Stack::BOTH.into_iter().find(|known| known.to_string() == stack)?;
    let part = rest.strip_prefix(NETWORK)?.strip_prefix('.')?;
    let (module, kind) = part.rsplit_once('.')?;
    let (_, ours) = PARTS.iter().find(|(theirs, _)| *theirs == module)?;
    Some(names::hypernetwork(stack, &format!("{ours}.{kind}")))
}

/// The hyper-parameters, from the shapes of the tensors. LoRA's alpha, which is 8 in the authors' code, has none.
fn method(ours: &Tensors, file: &Path) -> Result<HyperConfig, ImportError> {
    let size = |part: &str, dimension: usize| {
        let name = names::hypernetwork(Stack::Encoder, part);
        let found = ours.get(&name).and_then(|tensor| tensor.shape().get(dimension).copied());
        found.filter(|size| *size > 0).ok_or_else(|| ImportError::Tensor {
            file: file.to_owned(),
            name,
            found: "missing".to_owned(),
            expected: "a tensor of the hypernetwork".to_owned(),
        })
    };
    let embed = size("layer_embed.weight", 1)?;
    let width = size("adapter_up.bias_head.weight", 0)?;
    let bottleneck = size("adapter_down.bias_head.weight", 0)?;
    let has_lora = ours.contains_key(&names::hypernetwork(Stack::Encoder, "lora_a.weight_head.weight"));
    let lora = match has_lora {
        true => {
            let rank = size("lora_a.weight_head.weight", 0)? / width;
            Some(LoraConfig { rank, ..LoraConfig::default() })
        }
        false => None,
    };
    Ok(HyperConfig {
        method: if has_lora { Method::HyperLoader } else { Method::HyperFormerPlusPlus },
        task_embed_dim: embed,
        projector_hidden: size("projector.fc1.weight", 0)?,
        reduction_factor: width / bottleneck,
        lora,
        ..HyperConfig::default()
    })
}
