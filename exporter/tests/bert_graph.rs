//! The graph of a token classifier: what it declares, and that it is made of plain operators.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeSet;

use hyperloader_core::backbone::bert::BertConfig;
use hyperloader_core::method::unipelt_bert::UnipeltBertConfig;
use hyperloader_exporter::bert::graph::bert_graph;
use hyperloader_onnx::{BuiltModel, Opset};

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
    bert_graph(&config, method, 5, opset).unwrap()
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
fn the_graph_is_this_one() {
    insta::assert_snapshot!(built(&small(), Opset::V18).summary());
}

#[test]
fn only_gates_over_tokens_read_the_mask_twice() {
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
fn operators_are_plain_in_both_operator_sets() {
    for opset in [Opset::V17, Opset::V18] {
        let model = built(&small(), opset).model;
        assert!(model.opset_import.iter().all(|set| set.domain.is_empty()));
        let graph = model.graph.unwrap();
        let kinds: BTreeSet<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert!(kinds.contains("Erf") && !kinds.contains("If") && !kinds.contains("Loop"), "{kinds:?}");
    }
}
