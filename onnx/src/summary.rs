//! Inputs, outputs and operators of a model as text, for people and for snapshot tests.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::built::{BuiltModel, Weight};
use crate::element::ElementType;
use crate::proto::{DimensionValue, GraphProto, ModelProto, ValueInfoProto};

impl<S> BuiltModel<S> {
    /// As [`summary`]; the initializers include the weights that are still to be supplied.
    pub fn summary(&self) -> String {
        let elements = self.weights.iter().map(Weight::element_count).sum();
        summary_with(&self.model, self.weights.len(), elements)
    }
}

/// One line for the graph, for each input, output and typed inner value, for each operator with its number of nodes, and
/// for the initializers with their number of elements.
pub fn summary(model: &ModelProto) -> String {
    summary_with(model, 0, 0)
}

/// The summary of `model` with `weights` initializers of `elements` elements more than it contains.
fn summary_with(model: &ModelProto, weights: usize, elements: usize) -> String {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let opset: Vec<String> = model.opset_import.iter().map(|opset| opset.version.to_string()).collect();
    let mut lines = vec![format!(
        "graph `{}`: {} nodes, opset {}, ir {}",
        graph.name,
        graph.node.len(),
        opset.join("+"),
        model.ir_version
    )];
    for (title, values) in
        [("inputs", &graph.input), ("outputs", &graph.output), ("inner values", &graph.value_info)]
    {
        lines.push(title.into());
        lines.extend(values.iter().map(|value| format!("  {}", describe(value))));
    }
    lines.push("operators".into());
    lines.extend(operators(graph).into_iter().map(|(op_type, count)| format!("  {op_type} {count}")));
    let small: usize = graph.initializer.iter().filter_map(|tensor| tensor.element_count()).sum();
    let initializers = graph.initializer.len() + weights;
    lines.push(format!("initializers {initializers}, {} elements", small + elements));
    lines.join("\n")
}

/// The operators of a graph, each with its number of nodes.
pub fn operators(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.node {
        *counts.entry(node.op_type.as_str()).or_default() += 1;
    }
    counts
}

/// An input or output: `name f32 [batch, 3]`, with a question mark for an unknown type or dimension.
pub fn describe(value: &ValueInfoProto) -> String {
    let mut text = value.name.clone();
    let Some(tensor) = value.tensor_type() else {
        return text + " ?";
    };
    let _ = match ElementType::from_code(tensor.elem_type) {
        Some(element_type) => write!(text, " {element_type}"),
        None => write!(text, " type {}", tensor.elem_type),
    };
    let Some(shape) = &tensor.shape else {
        return text;
    };
    let dims = shape.dim.iter().map(|dim| match &dim.value {
        Some(DimensionValue::DimValue(size)) => size.to_string(),
        Some(DimensionValue::DimParam(name)) => name.clone(),
        None => "?".into(),
    });
    let dims: Vec<String> = dims.collect();
    text + &format!(" [{}]", dims.join(", "))
}
