//! Graphs: what the builder makes, which mistakes it reports, and what extraction keeps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::two_stage_model;
use hyperloader_onnx::proto::{AttributeProto, GraphProto, ModelProto};
use hyperloader_onnx::summary::summary;
use hyperloader_onnx::{BuildError, ElementType, GraphBuilder, Opset, Value, extract};

fn with_weights(opset: Opset) -> ModelProto {
    let built = two_stage_model(opset);
    let mut bytes = Vec::new();
    hyperloader_onnx::write_model(&mut bytes, &built, |weight| {
        Ok::<_, std::convert::Infallible>(common::counting_elements(weight))
    })
    .unwrap();
    hyperloader_onnx::decode_model(bytes.into(), "model.onnx".as_ref()).unwrap()
}

fn nodes(model: &ModelProto) -> String {
    let graph = model.graph.as_ref().unwrap();
    let line = |node: &hyperloader_onnx::proto::NodeProto| {
        format!("{} = {}({})", node.output.join(", "), node.name, node.input.join(", "))
    };
    graph.node.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_built_graph_has_scoped_names_and_shared_constants() {
    let built = two_stage_model(Opset::default());
    insta::assert_snapshot!(format!("{}\n{}", built.summary(), nodes(&built.model)));
}

#[test]
fn extraction_keeps_the_nodes_between_the_named_values() {
    let model = with_weights(Opset::default());
    let first = extract(&model, &["source"], &["hidden"]).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", summary(&first), nodes(&first)));
    let second = extract(&model, &["hidden", "target"], &["result"]).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", summary(&second), nodes(&second)));
}

#[test]
fn extracted_initializers_share_the_bytes_of_the_model() {
    let model = with_weights(Opset::default());
    let part = extract(&model, &["source"], &["hidden"]).unwrap();
    let of = |model: &ModelProto| {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().find(|tensor| tensor.name == "first.weight").unwrap().raw_data.clone()
    };
    assert_eq!(of(&model).as_ptr(), of(&part).as_ptr());
}

#[test]
fn extracting_a_whole_model_keeps_its_graph() {
    let model = with_weights(Opset::V17);
    let whole = extract(&model, &["source", "target"], &["result"]).unwrap();
    assert_eq!(whole.graph, model.graph);
}

#[test]
fn impossible_extractions_name_the_value() {
    let model = with_weights(Opset::default());
    let error = |inputs: &[&str], outputs: &[&str]| extract(&model, inputs, outputs).unwrap_err().to_string();
    let mut errors = vec![
        error(&["source"], &["result"]),
        error(&["source"], &["target"]),
        error(&["sauce"], &["hidden"]),
        error(&["source"], &["/first/MatMul_output_0"]),
    ];

    let mut looping = model.clone();
    let node = &mut looping.graph.as_mut().unwrap().node[0];
    node.attribute.push(AttributeProto { g: Some(GraphProto::default()), ..AttributeProto::int("body", 0) });
    errors.push(extract(&looping, &["source"], &["hidden"]).unwrap_err().to_string());

    let mut dangling = model.clone();
    dangling.graph.as_mut().unwrap().initializer.clear();
    errors.push(extract(&dangling, &["source"], &["hidden"]).unwrap_err().to_string());

    errors.push(extract(&ModelProto::default(), &[], &[]).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn reduction_axes_are_an_input_from_opset_18_on() {
    let inputs = |opset| {
        let mut graph = GraphBuilder::new("mean", opset);
        let x = graph.input("x", ElementType::F32, &["batch".into(), 3_usize.into()]);
        let mean = graph.reduce_mean(x, &[-1]);
        graph.output(mean, "mean", ElementType::F32, &["batch".into(), 1_usize.into()]);
        let model = graph.finish().unwrap().model;
        let node = model.graph.unwrap().node.remove(0);
        (node.input, node.attribute.into_iter().find(|attribute| attribute.name == "axes"))
    };
    assert_eq!(inputs(Opset::V17), (vec!["x".into()], Some(AttributeProto::ints("axes", &[-1]))));
    assert_eq!(inputs(Opset::V18), (vec!["x".into(), "const/i64/[-1]".into()], None));
}

#[test]
fn mistakes_in_building_are_reported_at_the_end() {
    let error = |mistake: fn(&mut GraphBuilder, Value) -> Value| {
        let mut graph = GraphBuilder::new("g", Opset::default());
        let x = graph.input("x", ElementType::F32, &[3_usize.into()]);
        let y = mistake(&mut graph, x);
        let y = graph.identity(y);
        graph.output(y, "y", ElementType::F32, &[3_usize.into()]);
        graph.finish().unwrap_err()
    };
    let errors: [BuildError; 4] = [
        error(|graph, x| {
            let weight = graph.weight("w", ElementType::F32, &[3]);
            let again = graph.weight("w", ElementType::F16, &[3, 1]);
            let sum = graph.add(x, weight);
            graph.add(sum, again)
        }),
        error(|graph, x| {
            let weight = graph.weight("x", ElementType::F32, &[3]);
            graph.add(x, weight)
        }),
        error(|graph, x| {
            graph.name_value(x, "z", ElementType::F32, &[3_usize.into()]);
            x
        }),
        error(|graph, x| {
            graph.tanh(x);
            x
        }),
    ];
    insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"));
}
