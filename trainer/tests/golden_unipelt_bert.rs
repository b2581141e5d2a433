//! UniPELT on a BERT token classifier against its authors' implementation, on every case of `golden/unipelt-bert`: the folder
//! itself, or folders in it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod golden_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use golden_support::methods::{golden, json};
use golden_support::{Tolerance, assert_close, assert_number, floats, integers};
use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::TaskShape;
use hyperloader_core::method::family::MethodFamily;
use hyperloader_core::method::unipelt_bert::{UnipeltBertConfig, UnipeltWeights, names};
use hyperloader_core::weights::task::Linear;
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_trainer::data::IGNORED;
use hyperloader_trainer::model::bert::{Bert, BertTask, Observed, TaskModules, tag_loss};
use tch::{Device, Kind, Tensor};

/// Of logits and hidden states.
const STATES: Tolerance = Tolerance::OfMaximumOr(5e-5, 1.0);
/// Of gates.
const GATES: Tolerance = Tolerance::Absolute(1e-5);
const GRADIENTS: Tolerance = Tolerance::OfMaximum(2e-3);
const LOSS: f64 = 1e-5;
/// The task's name in the reference implementation.
const TASK: &str = "task";

fn cases() -> Vec<PathBuf> {
    let root = golden("unipelt-bert");
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let folders = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        folders.chain([root.clone()]).filter(|folder| folder.join("pelt.safetensors").is_file()).collect();
    found.sort();
    assert!(!found.is_empty(), "no case in {}", root.display());
    found
}

struct Case {
    folder: PathBuf,
    name: String,
    bert: Bert,
    method: UnipeltBertConfig,
    /// The trained tensors by the reference's names.
    leaves: BTreeMap<String, Tensor>,
    io: TensorFile,
}

/// What a pass shows of its inside, by the names of the files.
#[derive(Default)]
struct Seen {
    hidden: Vec<Tensor>,
    prefixes: Vec<[Tensor; 2]>,
    gates: BTreeMap<String, Tensor>,
}

impl Case {
    fn open(folder: &Path) -> Self {
        let open = |name: &str| TensorFile::open(&folder.join(name)).unwrap();
        let shape = BertConfig::from_file(&folder.join("config.json")).unwrap();
        let fields = json(&folder.join("config.json"));
        let number = |field: &str| fields[field].as_u64().unwrap() as usize;
        for gate in ["add_adapter_gate", "add_lora_gate", "add_prefix_gate"] {
            assert_eq!(fields[gate], true, "{gate}");
        }
        assert_eq!(fields["adapter_non_linearity"], "relu");
        let method = UnipeltBertConfig {
            lora_rank: number("lora_r"),
            prefix_len: number("prefix_len"),
            prefix_hidden: number("mid_dim"),
            adapter_reduction_factor: number("adapter_reduction_factor"),
            gate_over_padding: true,
            ..UnipeltBertConfig::default()
        };
        assert_eq!(method.bottleneck(shape.hidden_size), number("adapter_bottleneck"));
        let (base, pelt) = (open("base.safetensors"), open("pelt.safetensors"));
        let bert = Bert::new(&shape, |name| Ok::<_, ()>(floats(&base, name))).unwrap();
        let mut leaves = BTreeMap::new();
        let prefix = names::of_task(TASK, "");
        let list = method.trainable_tensors(
            &shape.shape(),
            &[TaskShape { name: TASK.to_owned(), bio_tags: number("num_labels") }],
        );
        for entry in list {
            let name = entry.name.strip_prefix(&prefix).unwrap();
            let tensor = floats(if name.starts_with("classifier") { &base } else { &pelt }, name);
            let size: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
            assert_eq!(size, entry.shape, "{name}");
            leaves.insert(name.to_owned(), tensor.set_requires_grad(true));
        }
        // Nothing of the reference's is left out.
        assert!(pelt.shapes().keys().all(|name| leaves.contains_key(name)));
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let io = open("io.safetensors");
        Self { folder: folder.to_owned(), name, bert, method, leaves, io }
    }

    fn inputs(&self) -> [Tensor; 2] {
        ["input_ids", "attention_mask"].map(|name| integers(&self.io, name))
    }

    fn task(&self, over_padding: bool) -> BertTask {
        let leaf = |name: &str| self.leaves[name].shallow_clone();
        let layers = self.bert.config.num_hidden_layers;
        let weights = UnipeltWeights::gather(&self.method, layers, TASK, |name| {
            Ok::<_, ()>(leaf(name.strip_prefix(&names::of_task(TASK, "")).unwrap()))
        });
        BertTask {
            modules: TaskModules::Gated { weights: weights.unwrap(), over_padding },
            classifier: Linear { weight: leaf("classifier.weight"), bias: leaf("classifier.bias") },
        }
    }

    fn logits(&self, over_padding: bool, ids: &Tensor, mask: &Tensor) -> (Tensor, Seen) {
        let mut seen = Seen::default();
        let mut observe = |observed: Observed<'_>| match observed {
            Observed::Hidden(x) => seen.hidden.push(x.shallow_clone()),
            Observed::Prefix(keys, values) => seen.prefixes.push([keys, values].map(Tensor::shallow_clone)),
            Observed::Gate(name, gate) => {
                let layer = seen.hidden.len() - 1;
                seen.gates.insert(format!("gate.{layer}.{name}"), gate.shallow_clone());
            }
        };
        let task = self.task(over_padding);
        let logits = self.bert.logits_observed(&task, [ids, mask], false, &mut observe);
        (logits, seen)
    }

    fn reference_logits(&self) -> (Tensor, Seen) {
        let [ids, mask] = self.inputs();
        self.logits(self.method.gate_over_padding, &ids, &mask)
    }

    fn meta(&self) -> serde_json::Value {
        json(&self.folder.join("meta.json"))
    }

    /// The row that the files also have alone, without its padding: ids, mask, number.
    fn alone(&self) -> (Tensor, Tensor, i64) {
        let row = self.meta()["alone_row"].as_i64().unwrap();
        let [ids, mask] = self.inputs().map(|tensor| tensor.narrow(0, row, 1));
        let len = mask.sum(Kind::Int64).int64_value(&[]);
        (ids.narrow(1, 0, len), mask.narrow(1, 0, len), row)
    }
}

/// Compares all gates of the files whose names begin with `prefix`; gives the largest difference.
fn compare_gates(case: &Case, prefix: &str, seen: &Seen) -> f64 {
    let mut worst: f64 = 0.0;
    let wanted: Vec<&String> = case.io.shapes().keys().filter(|name| name.starts_with(prefix)).collect();
    assert_eq!(wanted.len(), seen.gates.len(), "{}", case.name);
    for name in wanted {
        let got = &seen.gates[name.strip_prefix("alone.").unwrap_or(name)];
        let what = format!("{}: {name}", case.name);
        worst = worst.max(assert_close(&what, got, &floats(&case.io, name), GATES));
    }
    worst
}

#[test]
fn prefixes_gates_hidden_states_and_logits_equal_the_references() {
    for case in cases().iter().map(|folder| Case::open(folder)) {
        let (logits, seen) = case.reference_logits();
        let layers = case.bert.config.num_hidden_layers;
        assert_eq!((seen.hidden.len(), seen.prefixes.len()), (layers + 1, layers));
        for (i, parts) in seen.prefixes.iter().enumerate() {
            for (part, got) in ["key", "value"].into_iter().zip(parts) {
                let name = format!("prefix.{i}.{part}");
                assert_close(&format!("{}: {name}", case.name), got, &floats(&case.io, &name), STATES);
            }
        }
        let gates = compare_gates(&case, "gate.", &seen);
        for (i, got) in seen.hidden.iter().enumerate() {
            let name = format!("hidden.{i}");
            assert_close(&format!("{}: {name}", case.name), got, &floats(&case.io, &name), STATES);
        }
        let what = format!("{}: logits", case.name);
        let worst = assert_close(&what, &logits, &floats(&case.io, "logits"), STATES);
        println!("{what} {worst:.1e}, gates {gates:.1e}");
    }
}

#[test]
fn the_mean_loss_and_the_gradient_of_every_trained_tensor_equal_the_references() {
    for case in cases().iter().map(|folder| Case::open(folder)) {
        let [_, mask] = case.inputs();
        let labels = integers(&case.io, "labels");
        let ignored = labels.eq(IGNORED).logical_and(&mask.not_equal(0)).sum(Kind::Int64).int64_value(&[]);
        assert!(ignored > 0, "{}: no label is ignored", case.name);
        let (logits, _) = case.reference_logits();
        let loss = tag_loss(&logits, &mask, &labels, 0.0);
        let mean = loss.sum / loss.tokens as f64;
        assert_number(
            &format!("{}: loss", case.name),
            mean,
            floats(&case.io, "loss").double_value(&[]),
            LOSS,
        );

        let file = TensorFile::open(&case.folder.join("grads.safetensors")).unwrap();
        assert!(case.leaves.keys().eq(file.shapes().keys()), "{}: names differ", case.name);
        let leaves: Vec<&Tensor> = case.leaves.values().collect();
        let objective = loss.surrogate * (loss.tokens as f64).recip();
        let got = Tensor::run_backward(&[objective], &leaves, false, false);
        let mut worst: f64 = 0.0;
        for (name, got) in case.leaves.keys().zip(&got) {
            let wanted = floats(&file, name);
            let what = format!("{}: gradient of {name}", case.name);
            let largest = wanted.abs().max().double_value(&[]);
            worst = worst.max(assert_close(&what, got, &wanted, GRADIENTS) / largest);
        }
        println!("{}: {} gradients, {worst:.1e} of the largest element", case.name, got.len());
    }
}

#[test]
fn a_row_alone_equals_the_references_row_alone() {
    for case in cases().iter().map(|folder| Case::open(folder)) {
        let (ids, mask, _) = case.alone();
        let (logits, seen) = case.logits(true, &ids, &mask);
        let what = format!("{}: alone.logits", case.name);
        assert_close(&what, &logits, &floats(&case.io, "alone.logits"), STATES);
        compare_gates(&case, "alone.gate.", &seen);
    }
}

#[test]
fn with_gates_over_tokens_alone_padding_changes_nothing_and_with_the_references_it_does() {
    for case in cases().iter().map(|folder| Case::open(folder)) {
        let (ids, mask, row) = case.alone();
        let len = ids.size()[1];
        let [padded_ids, padded_mask] = case.inputs();
        let difference = |over_padding| {
            let (alone, _) = case.logits(over_padding, &ids, &mask);
            let (padded, _) = case.logits(over_padding, &padded_ids, &padded_mask);
            let padded = padded.narrow(0, row, 1).narrow(1, 0, len);
            (alone - padded).abs().max().double_value(&[])
        };
        let (sound, reference) = (difference(false), difference(true));
        assert!(sound < 1e-4, "{}: {sound}", case.name);
        assert_number(
            &format!("{}: effect of padding", case.name),
            reference,
            case.meta()["padded_vs_alone"].as_f64().unwrap(),
            1e-3,
        );
        // Alone there is no padding to count: both are one.
        let ((plain, _), (counted, _)) = (case.logits(false, &ids, &mask), case.logits(true, &ids, &mask));
        assert_close(&format!("{}: alone", case.name), &plain, &counted, STATES);
        println!(
            "{}: padding moves logits by {sound:.1e}, as the reference gates by {reference:.2}",
            case.name
        );
    }
}

#[test]
fn trainable_tensors_are_those_that_the_reference_leaves_trainable() {
    for case in cases().iter().map(|folder| Case::open(folder)) {
        let meta = case.meta();
        let names = meta["trainable_names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let names: std::collections::BTreeSet<&str> = names.collect();
        assert!(case.leaves.keys().map(String::as_str).eq(names), "{}", case.name);
        let elements: usize = case.leaves.values().map(Tensor::numel).sum();
        assert_eq!(elements as u64, meta["trainable"].as_u64().unwrap(), "{}", case.name);
        assert_eq!(case.bert.device(), Device::Cpu);
    }
}
