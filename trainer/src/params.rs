//! `hl-train params`: trainable and total parameters, counted from the tensors that a training would create.

use std::convert::Infallible;

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::method::{Init, MethodConfig, Sharing, TaskShape};
use hyperloader_core::run::Manifest;
use serde::Serialize;
use tch::Device;

use crate::parameters::Parameters;

/// Parameters of a method on a backbone.
#[derive(Debug, Clone, Serialize)]
pub struct ParameterCount {
    /// Elements of the tensors that training changes; of one task's model where each task has its own.
    pub trainable: usize,
    /// Elements of those and of the frozen backbone; a tied embedding counts once.
    pub total: usize,
    /// `trainable / total`.
    pub ratio: f64,
    /// Elements that the training of all tasks changes.
    pub all_tasks: usize,
}

/// What the paper says of a variant on T5-base (Tables 3 and 4: total, trainable), and where it differs from what is
/// counted here (reference section 2.1).
pub fn paper(variant: &str) -> Option<&'static str> {
    Some(match variant {
        "hyperloader" => "229M/6M, 2.9543 %: as counted",
        "hyperformer++" => "228M/5M, 2.3849 %: the ratio is a misprint for 2.2849 %",
        "hyperloader-4-lora" => "228M/8M: the total is a misprint for 231M",
        "hyperloader-8-lora" => "234M/11M: as counted",
        "hyperloader-r16" => "229M/6M: repeats HyperLoader's figures",
        "hyperloader-no-adapters" => "225M/1.8M: nearer to `hyperloader-no-adapters-norm-heads`",
        "hyperloader-no-adapters-norm-heads" => "225M/1.8M: as counted, unused heads included",
        "hyperloader-paper-embedding" => "229M/6M, 2.9543 %: the ratio of task embeddings of 64",
        "adapters" => "222M/3.5M: the total is the backbone's alone",
        "lora" => "222M/0.84M: 0.844M only in units of 2^20; the total is the backbone's alone",
        "unipelt" => "220M/4.5M: the total is less than the backbone's",
        "unipelt-bert" | "unipelt-bert-flat" => {
            "110M/1.8M: unexplained; without its maps the prefix leaves 1,410,672"
        }
        "hyperdecoder" => "239M/16M: as counted, decoder adapters that nothing uses included",
        "hyperdecoder-live" => "239M/16M: with decoder adapters that nothing uses",
        _ => return None,
    })
}

/// Parameters of a run's model.
pub fn of_run(manifest: &Manifest) -> ParameterCount {
    let tasks: Vec<String> = manifest.tasks.iter().map(|task| task.name.clone()).collect();
    count(&manifest.method, manifest.backbone_config(), &tasks)
}

/// Creates the tensors that a training adds to the backbone and counts their elements. Only a shape stands for the
/// backbone: its tensors, trained or not, stay without values. Classifiers are left out: they have `hidden_size + 1`
/// elements for each BIO tag.
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
    fn counts_of_unipelt_bert_are_those_of_reference_section_2_1() {
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
