//! `hl-train params`: the numbers of trainable and of all parameters, counted from the tensors of a training.

use std::convert::Infallible;

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::method::{Init, MethodConfig, Sharing, TaskShape};
use hyperloader_core::run::Manifest;
use serde::Serialize;
use tch::Device;

use crate::parameters::Parameters;

/// The numbers of parameters of a method on a backbone.
#[derive(Debug, Clone, Serialize)]
pub struct ParameterCount {
    /// The number of trainable parameters. If each task has its own model, those of one model.
    pub trainable: usize,
    /// The number of trainable parameters and those of the frozen backbone. A tied embedding counts once.
    pub total: usize,
    /// `trainable / total`.
    pub ratio: f64,
    /// The number of trainable parameters of all tasks together.
    pub all_tasks: usize,
}

/// The numbers that the paper gives for a variant on T5-base (Tables 3 and 4: total/trainable), and how they differ from the
/// count (docs/reference/parameter-counts.md#t5-base).
pub fn paper(variant: &str) -> Option<&'static str> {
    Some(match variant {
        "hyperloader" => "229M/6M, 2.9543 %: as counted",
        "hyperformer++" => "228M/5M, 2.3849 %: the ratio is a misprint for 2.2849 %",
        "hyperloader-4-lora" => "228M/8M: the total is a misprint for 231M",
        "hyperloader-8-lora" => "234M/11M: as counted",
        "hyperloader-r16" => "229M/6M: the numbers of HyperLoader",
        "hyperloader-no-adapters" => "225M/1.8M: closer to `hyperloader-no-adapters-norm-heads`",
        "hyperloader-no-adapters-norm-heads" => "225M/1.8M: as counted, unused heads included",
        "hyperloader-paper-embedding" => "229M/6M, 2.9543 %: the ratio with task embeddings of 64",
        "adapters" => "222M/3.5M: the total is that of the backbone alone",
        "lora" => "222M/0.84M: 0.844M in units of 2^20; the total is that of the backbone alone",
        "unipelt" => "220M/4.5M: the total is smaller than that of the backbone",
        "unipelt-bert" | "unipelt-bert-flat" => {
            "110M/1.8M: not explained; with a flat prefix there are 1,410,672"
        }
        "hyperdecoder" => "239M/16M: as counted, including unused decoder adapters",
        "hyperdecoder-live" => "239M/16M: with unused decoder adapters",
        _ => return None,
    })
}

/// The numbers of parameters of the model of a run.
pub fn of_run(manifest: &Manifest) -> ParameterCount {
    let tasks: Vec<String> = manifest.tasks.iter().map(|task| task.name.clone()).collect();
    count(&manifest.method, manifest.backbone_config(), &tasks)
}

/// Counts the parameters of `method` on a backbone: creates the tensors that a training adds, and counts their elements. The
/// tensors of the backbone are counted from their shapes. Classifiers, which have `hidden_size + 1` parameters per BIO tag,
/// are left out.
pub fn count(method: &MethodConfig, backbone: &dyn BackboneConfig, tasks: &[String]) -> ParameterCount {
    let (models, tasks) = match method.sharing() {
        Sharing::Nothing => (tasks.len(), &tasks[..tasks.len().min(1)]),
        Sharing::Embedding | Sharing::Everything => (1, tasks),
    };
    let list = method.trainable_tensors(backbone, &TaskShape::named(tasks));
    let (trained, added): (Vec<_>, Vec<_>) = list.into_iter().partition(|t| t.init == Init::Backbone);
    let none = |name: &str| unreachable!("`{name}` does not start as the backbone's");
    let Ok(parameters) = Parameters::initialise::<Infallible>(&added, 0, Device::Cpu, none);
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    let trainable = parameters.count() + trained.iter().map(|t| elements(&t.shape)).sum::<usize>();
    let of_backbone = backbone.shape().tensors.values().map(|shape| elements(shape)).sum::<usize>();
    let total = parameters.count() + of_backbone;
    ParameterCount { trainable, total, ratio: trainable as f64 / total as f64, all_tasks: models * trainable }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::backbone::bert::BertConfig;
    use hyperloader_core::method::unipelt_bert::UnipeltBertConfig;

    use super::*;

    #[test]
    fn counts_of_unipelt_bert_are_those_of_the_reference() {
        let bert = BertConfig::preset("bert-base").unwrap();
        let tasks: Vec<String> = (0..7).map(|n| format!("task{n}")).collect();
        let flat = UnipeltBertConfig { prefix_hidden: 0, ..UnipeltBertConfig::default() };
        let counted = count(&flat.into(), &bert, &tasks);
        assert_eq!((counted.trainable, counted.all_tasks), (1_410_672, 7 * 1_410_672));
        assert_eq!(counted.total, 1_410_672 + 108_891_648);
        let made = count(&UnipeltBertConfig::default().into(), &bert, &tasks);
        assert_eq!(made.trainable, 1_410_672 - 184_320 + 9_857_024);
    }
}
