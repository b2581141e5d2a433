//! The graph of a token classifier: its summary, and that it uses standard operators only.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeSet;

use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::UnipeltBertConfig;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::ModelError;
use hyperloader_exporter::bert::{BertParts, BertTensors, PrefixPart, bert_graph};
use hyperloader_onnx::{BuiltModel, Opset, Weight};

/// A graph is built without reading any tensor.
#[derive(Debug)]
struct NoTensors;

impl BertTensors for NoTensors {
    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        panic!("`{name}` is read");
    }

    fn prefix(&self, layer: usize, part: PrefixPart) -> Result<HostTensor, ModelError> {
        panic!("prefix {layer} {part:?} is read");
    }
}

fn built(method: &UnipeltBertConfig, opset: Opset) -> BuiltModel {
    let config = BertConfig {
        vocab_size: 30,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 16,
        ..BertConfig::preset("bert-base").unwrap()
    };
    let parts = BertParts { config: &config, method, tags: 5, tensors: &NoTensors };
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
