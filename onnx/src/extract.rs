//! Sub-graph extraction: the part of a model between named values, as a separate model.
//!
//! hl-run splits the graph of an encoder-decoder in this way, so that the encoder runs once and the decoder several times.

use std::collections::{HashMap, HashSet};

use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// A sub-graph could not be extracted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The model contains no graph.
    #[error("the model contains no graph")]
    NoGraph,
    /// No value of this name is declared with a type.
    #[error("the model has no typed value `{name}`")]
    UnknownValue {
        /// The requested name.
        name: String,
    },
    /// An output depends on an input of the model that is not an input of the sub-graph.
    #[error("input `{name}` is needed by {reader} but is not among the inputs of the sub-graph: {inputs}")]
    MissingInput {
        /// Name of the model's input.
        name: String,
        /// The node that reads it, or the outputs.
        reader: String,
        /// The inputs of the sub-graph.
        inputs: String,
    },
    /// No node computes a value that is needed.
    #[error("no node computes value `{name}`, which is needed by {reader}")]
    Dangling {
        /// Name of the value.
        name: String,
        /// The node that reads it, or the outputs.
        reader: String,
    },
    /// A node contains a graph, which may read values that the node does not list.
    #[error("node `{node}` ({op_type}) contains a graph: models with control flow cannot be split")]
    ControlFlow {
        /// Name of the node.
        node: String,
        /// Operator of the node.
        op_type: String,
    },
}

/// Extracts the part of `model` that computes `outputs` from `inputs`: the nodes in between in their order, the
/// initializers that they read or that are outputs (sharing their bytes), operator set and producer. Metadata is left out.
///
/// `inputs` and `outputs` name inputs, outputs or typed inner values of `model`, which keep their types. An input that no
/// output depends on remains an input.
///
/// # Errors
/// Returns [`ExtractError`], which names the missing value.
pub fn extract(model: &ModelProto, inputs: &[&str], outputs: &[&str]) -> Result<ModelProto, ExtractError> {
    let graph = model.graph.as_ref().ok_or(ExtractError::NoGraph)?;
    let input = typed_values(graph, inputs)?;
    let output = typed_values(graph, outputs)?;
    let needed = needed_nodes(graph, inputs, outputs)?;
    let node: Vec<NodeProto> =
        graph.node.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(node, _)| node.clone()).collect();

    let read = node.iter().flat_map(|node| &node.input).map(String::as_str);
    let used: HashSet<&str> = read.chain(outputs.iter().copied()).collect();
    let computed: HashSet<&str> = node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let ends: HashSet<&str> = inputs.iter().chain(outputs).copied().collect();
    let initializer =
        graph.initializer.iter().filter(|tensor| used.contains(tensor.name.as_str())).cloned().collect();
    let value_info = graph
        .value_info
        .iter()
        .filter(|value| computed.contains(value.name.as_str()) && !ends.contains(value.name.as_str()))
        .cloned()
        .collect();

    let graph = GraphProto {
        name: graph.name.clone(),
        initializer,
        input,
        output,
        value_info,
        node,
        ..GraphProto::default()
    };
    Ok(ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    })
}

fn typed_values(graph: &GraphProto, names: &[&str]) -> Result<Vec<ValueInfoProto>, ExtractError> {
    let typed = |name: &&str| {
        graph.typed_value(name).cloned().ok_or_else(|| ExtractError::UnknownValue { name: (*name).into() })
    };
    names.iter().map(typed).collect()
}

/// For each node of `graph`, whether computing `outputs` from `inputs` needs it.
fn needed_nodes(graph: &GraphProto, inputs: &[&str], outputs: &[&str]) -> Result<Vec<bool>, ExtractError> {
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let given: HashSet<&str> = constants.chain(inputs.iter().copied()).collect();
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let mut needed = vec![false; graph.node.len()];
    // Values whose node is still to be found, each with the node that reads it.
    let mut open: Vec<(&str, Option<&NodeProto>)> = outputs.iter().map(|&name| (name, None)).collect();
    while let Some((name, reader)) = open.pop() {
        if name.is_empty() || given.contains(name) {
            continue;
        }
        let Some(&index) = producers.get(name) else {
            return Err(missing(graph, inputs, name, reader));
        };
        if std::mem::replace(&mut needed[index], true) {
            continue;
        }
        let node = &graph.node[index];
        if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(ExtractError::ControlFlow { node: node.name.clone(), op_type: node.op_type.clone() });
        }
        open.extend(node.input.iter().map(|input| (input.as_str(), Some(node))));
    }
    Ok(needed)
}

fn missing(graph: &GraphProto, inputs: &[&str], name: &str, reader: Option<&NodeProto>) -> ExtractError {
    let name = name.to_owned();
    let reader = match reader {
        Some(node) => format!("node `{}`", node.name),
        None => "the outputs".into(),
    };
    match graph.input.iter().any(|input| input.name == name) {
        true => ExtractError::MissingInput { name, reader, inputs: inputs.join(", ") },
        false => ExtractError::Dangling { name, reader },
    }
}
