//! The graph of a token classifier: its summary, and that it uses standard operators only.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::{BTreeMap, BTreeSet};

use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::UnipeltBertConfig;
use hyperloader_core::method::{MethodConfig, TaskShape};
use hyperloader_core::weights::in_place::TensorRef;
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::ModelError;
use hyperloader_exporter::bert::{BertParts, FoldedTensors, Modules, PrefixPart, Prefixes, bert_graph};
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::weights::Loras;
use hyperloader_onnx::{BuiltModel, Opset, Weight};

/// A graph is built without reading any tensor.
#[derive(Debug)]
struct NoTensors;

impl FoldedTensors for NoTensors {
    fn tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        panic!("`{name}` is read");
    }

    fn folded_tensor(&self, name: &str) -> Result<TensorRef<'_>, ModelError> {
        self.tensor(name)
    }

    fn is_updated(&self, _: &str) -> bool {
        false
    }

    fn release(&self, _: &str) {}
}

impl Prefixes for NoTensors {
    fn prefix(&self, layer: usize, part: PrefixPart) -> Result<HostTensor, ModelError> {
        panic!("prefix {layer} {part:?} is read");
    }
}

fn built(method: &UnipeltBertConfig, opset: Opset) -> BuiltModel {
    built_with(Modules::Gated { method, prefixes: &NoTensors }, opset)
}

fn config() -> BertConfig {
    BertConfig {
        vocab_size: 30,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 16,
        ..BertConfig::preset("bert-base").unwrap()
    }
}

fn built_with(modules: Modules<'_>, opset: Opset) -> BuiltModel {
    let parts = BertParts { config: &config(), modules, tags: 5, tensors: &NoTensors };
    let built = bert_graph(parts, opset).unwrap();
    let weights = built.weights.into_iter().map(|weight| Weight {
        name: weight.name,
        element_type: weight.element_type,
        dims: weight.dims,
        source: (),
    });
    BuiltModel { model: built.model, weights: weights.collect() }
}

fn small() -> UnipeltBertConfig {
    UnipeltBertConfig {
        lora_rank: 2,
        prefix_len: 3,
        adapter_reduction_factor: 4,
        ..UnipeltBertConfig::default()
    }
}

#[test]
fn the_graph_keeps_its_summary() {
    insta::assert_snapshot!(built(&small(), Opset::V18).summary());
}

#[test]
fn gates_over_tokens_read_the_mask_and_gates_over_padding_do_not() {
    let readers = |method: &UnipeltBertConfig| {
        let graph = built(method, Opset::V18).model.graph.unwrap();
        let divisions = graph.node.iter().filter(|node| node.op_type == "Div").count();
        let means = graph.node.iter().filter(|node| node.op_type == "ReduceMean").count();
        (divisions, means)
    };
    // Four gates a layer, and the mean of the mask that they share.
    assert_eq!(readers(&small()), (1, 5));
    assert_eq!(readers(&UnipeltBertConfig { gate_over_padding: true, ..small() }), (0, 4));
}

#[test]
fn operators_are_standard_in_both_operator_sets() {
    for opset in [Opset::V17, Opset::V18] {
        let model = built(&small(), opset).model;
        assert!(model.opset_import.iter().all(|set| set.domain.is_empty()));
        let graph = model.graph.unwrap();
        let kinds: BTreeSet<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert!(kinds.contains("Erf") && !kinds.contains("If") && !kinds.contains("Loop"), "{kinds:?}");
    }
}

/// What a method adds to the small encoder, all of it zero.
fn weights(method: &str) -> TaskWeights<HostTensor> {
    let method: MethodConfig = serde_json::from_str(method).unwrap();
    let (config, tasks) = (config(), TaskShape::named(&["a".to_owned()]));
    method.validate(&config, &tasks).unwrap();
    let zeros = method.trainable_tensors(&config, &tasks).into_iter();
    let checkpoint = zeros.map(|tensor| (tensor.name, HostTensor::zeros(tensor.shape))).collect();
    task_weights(&method, &config.shape(), &checkpoint, "a").unwrap()
}

#[test]
fn the_graph_with_adapters_and_lora_keeps_its_summary() {
    let weights = weights(r#"{"method": "hyperloader", "reduction_factor": 4, "lora": {"rank": 2}}"#);
    let folded = built_with(Modules::Ungated { weights: &weights, loras: Loras::Folded }, Opset::V18);
    insta::assert_snapshot!(folded.summary());
}

#[test]
fn folded_lora_adds_nothing_to_the_graph_and_separate_lora_adds_its_products() {
    let operators = |method, loras| {
        let weights = weights(method);
        let built = built_with(Modules::Ungated { weights: &weights, loras }, Opset::V18);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for node in built.model.graph.unwrap().node {
            *counts.entry(node.op_type).or_default() += 1;
        }
        counts
    };
    let (lora, full) = (r#"{"method": "lora"}"#, r#"{"method": "full"}"#);
    let [folded, separate, plain] =
        [(lora, Loras::Folded), (lora, Loras::Separate), (full, Loras::Folded)].map(|(m, l)| operators(m, l));
    assert_eq!(folded, plain);
    let more = |operator: &str| separate[operator] - folded[operator];
    // A and B on queries and on values, and the sums.
    assert_eq!((more("MatMul"), more("Add")), (4, 2));
}
