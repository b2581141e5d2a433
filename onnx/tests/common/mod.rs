//! A small two-stage model: `hidden = relu(source W + 0.5)`, `result = softmax(hidden V + target)`.

use hyperloader_onnx::{BuiltModel, Bytes, Dim, ElementType, GraphBuilder, Opset, Weight};

/// The model with inputs `source [batch, 3]` and `target [batch, 2]`, inner value `hidden` and output `result`.
pub(crate) fn two_stage_model(opset: Opset) -> BuiltModel {
    let mut graph = GraphBuilder::new("two-stage", opset);
    let dims = |width: usize| [Dim::from("batch"), Dim::from(width)];
    let source = graph.input("source", ElementType::F32, &dims(3));
    let target = graph.input("target", ElementType::F32, &dims(2));
    let hidden = graph.scoped("first", |graph| {
        let weight = graph.weight("first.weight", ElementType::F32, &[3, 4]);
        let product = graph.matmul(source, weight);
        let half = graph.f32(0.5);
        let sum = graph.add(product, half);
        graph.relu(sum)
    });
    graph.name_value(hidden, "hidden", ElementType::F32, &dims(4));
    let result = graph.scoped("second", |graph| {
        let weight = graph.weight("second.weight", ElementType::F32, &[4, 2]);
        let product = graph.matmul(hidden, weight);
        let sum = graph.add(product, target);
        graph.softmax(sum, -1)
    });
    graph.output(result, "result", ElementType::F32, &dims(2));
    graph
        .finish()
        .unwrap()
        .with_producer("tests", "1")
        .with_metadata([("task".to_owned(), "mtop".to_owned())].into())
}

/// Elements 0, 1, 2, ... for any weight.
pub(crate) fn counting_elements(weight: &Weight) -> Bytes {
    (0..weight.element_count()).flat_map(|index| (index as f32).to_le_bytes()).collect()
}
