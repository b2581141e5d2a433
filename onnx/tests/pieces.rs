//! Models cut into pieces: each piece is a model, and together they hold every node and every weight.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use hyperloader_onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use hyperloader_onnx::{Dim, ElementType, Piece, pieces};

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto::tensor(name, ElementType::F32, &[Dim::Size(2)])
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: output.into(),
        op_type: op_type.into(),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// `y = x + w0 + n1 + w1 + w2 + m` with `n1 = -w0`, a constant that is computed, and `m = |x|`; `z = x1 + w3`.
fn model(typed: &[&str]) -> ModelProto {
    let weight = |name: &&str| TensorProto::from_raw(name, ElementType::F32, &[2], vec![0; 8].into());
    let graph = GraphProto {
        name: "g".into(),
        input: vec![value("x")],
        output: vec![value("y"), value("z")],
        initializer: ["w0", "w1", "w2", "w3"].iter().map(weight).collect(),
        value_info: typed.iter().map(|name| value(name)).collect(),
        node: vec![
            node("Abs", &["x"], "m"),
            node("Neg", &["w0"], "n1"),
            node("Add", &["x", "w0"], "x1"),
            node("Add", &["x1", "n1"], "x2"),
            node("Add", &["x2", "w1"], "x3"),
            node("Sum", &["x3", "w2", "m"], "y"),
            node("Add", &["x1", "w3"], "z"),
        ],
        ..GraphProto::default()
    };
    ModelProto { ir_version: 9, graph: Some(graph), ..ModelProto::default() }
}

fn ends(pieces: &[Piece]) -> Vec<(Vec<&str>, Vec<&str>)> {
    pieces
        .iter()
        .map(|piece| {
            let [inputs, outputs] =
                [&piece.inputs, &piece.outputs].map(|names| names.iter().map(String::as_str).collect());
            (inputs, outputs)
        })
        .collect()
}

#[test]
fn pieces_end_where_their_weights_reach_the_limit() {
    let cut = pieces(&model(&["x1", "x2", "x3"]), 16).unwrap();
    // `m` has no type, and is computed again.
    assert_eq!(ends(&cut), [(vec!["x"], vec!["x1", "x3"]), (vec!["x", "x1", "x3"], vec!["y", "z"])]);
    let whole = pieces(&model(&["x1", "x2", "x3"]), 1 << 20).unwrap();
    assert_eq!(ends(&whole), [(vec!["x"], vec!["y", "z"])]);
}

#[test]
fn a_model_is_not_cut_at_values_without_a_type() {
    // `x1` is needed up to the end.
    assert_eq!(pieces(&model(&["x2", "x3"]), 8).unwrap().len(), 1);
    let cut = pieces(&model(&["x1", "x3"]), 8).unwrap();
    let outputs: Vec<_> = ends(&cut).into_iter().map(|(_, outputs)| outputs).collect();
    assert_eq!(outputs, [["x1"], ["x3"], ["y"], ["z"]]);
}

#[test]
fn each_piece_holds_what_its_nodes_read_and_all_hold_all() {
    let model = model(&["x1", "x2", "x3"]);
    for bytes in [1, 8, 16, 24, 1 << 20] {
        let (mut nodes, mut weights, mut computed) =
            (BTreeMap::new(), BTreeSet::new(), BTreeSet::from(["x".to_owned()]));
        for piece in pieces(&model, bytes).unwrap() {
            assert!(piece.inputs.iter().all(|input| computed.contains(input)), "{bytes}: {:?}", piece.inputs);
            let graph = piece.model.graph.unwrap();
            for node in graph.node {
                *nodes.entry(node.name).or_insert(0) += 1;
            }
            weights.extend(graph.initializer.into_iter().map(|tensor| tensor.name));
            computed.extend(piece.outputs);
        }
        assert!(nodes.iter().all(|(name, count)| *count == 1 || name == "m"), "{bytes}: {nodes:?}");
        assert_eq!((nodes.len(), weights.len()), (7, 4), "{bytes}");
        assert!(computed.contains("y") && computed.contains("z"), "{bytes}");
    }
}

#[test]
fn outputs_that_are_inputs_weights_or_constants_are_in_the_last_piece() {
    let mut model = model(&["x1", "x2", "x3"]);
    // A weight, a constant that is computed, and the input.
    model.graph.as_mut().unwrap().output.extend(["w0", "n1", "x"].map(value));
    let cut = pieces(&model, 16).unwrap();
    assert_eq!(
        ends(&cut),
        [(vec!["x"], vec!["x1", "x3"]), (vec!["x", "x1", "x3"], vec!["y", "z", "w0", "n1", "x"])]
    );
    let last = cut[1].model.graph.as_ref().unwrap();
    assert!(last.initializer.iter().any(|tensor| tensor.name == "w0"));
    assert!(last.node.iter().any(|node| node.name == "n1"));
}

#[test]
fn a_model_of_constants_is_one_piece() {
    let mut model = model(&[]);
    let graph = model.graph.as_mut().unwrap();
    (graph.input, graph.output) = (vec![], ["w0", "n1"].map(value).into());
    graph.node.retain(|node| node.name == "n1");
    let cut = pieces(&model, 1).unwrap();
    assert_eq!(ends(&cut), [(vec![], vec!["w0", "n1"])]);
}

#[test]
fn an_output_that_nothing_computes_is_named() {
    let mut model = model(&["x1", "x2", "x3"]);
    model.graph.as_mut().unwrap().output.push(value("missing"));
    let message = pieces(&model, 16).unwrap_err().to_string();
    assert!(message.contains("`missing`"), "{message}");
}
