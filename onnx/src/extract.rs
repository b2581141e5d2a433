//! Sub-graph extraction: the part of a model between named values as a model of its own.
//!
//! This is how one encoder-decoder file is run as an encoder, once, and a decoder, several times.

use std::collections::{HashMap, HashSet};

use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// A sub-graph could not be cut out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The model holds no graph.
    #[error("the model holds no graph")]
    NoGraph,
    /// No value of that name is declared with a type.
    #[error("the model has no typed value `{name}`")]
    UnknownValue {
        /// The name asked for.
        name: String,
    },
    /// An output depends on an input of the model that was not asked for.
    #[error("input `{name}` is needed by {reader} but is not among the inputs of the sub-graph: {inputs}")]
    MissingInput {
        /// The model's input.
        name: String,
        /// What reads it.
        reader: String,
        /// The inputs asked for.
        inputs: String,
    },
    /// A value is read that nothing makes.
    #[error("nothing makes value `{name}`, which is needed by {reader}")]
    Dangling {
        /// The value.
        name: String,
        /// What reads it.
        reader: String,
    },
    /// A node holds a graph of its own, whose reads cannot be seen from outside.
    #[error("node `{node}` ({op_type}) holds a graph: models with control flow cannot be split")]
    ControlFlow {
        /// The node.
        node: String,
        /// Its operator.
        op_type: String,
    },
}

/// The part of `model` that computes `outputs` from `inputs`, as a model of its own: the nodes on the way in their
/// order, the initializers they read (sharing their bytes), operator set and producer, without metadata.
///
/// Inputs and outputs are inputs, outputs or typed inner values of `model` and keep their types. An input that no
/// output depends on stays an input.
///
/// # Errors
/// [`ExtractError`] names the value that is missing.
pub fn extract(model: &ModelProto, inputs: &[&str], outputs: &[&str]) -> Result<ModelProto, ExtractError> {
    let graph = model.graph.as_ref().ok_or(ExtractError::NoGraph)?;
    let input = typed_values(graph, inputs)?;
    let output = typed_values(graph, outputs)?;
    let needed = needed_nodes(graph, inputs, outputs)?;
    let node: Vec<NodeProto> =
        graph.node.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(node, _)| node.clone()).collect();

    let read: HashSet<&str> = node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let made: HashSet<&str> = node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let ends: HashSet<&str> = inputs.iter().chain(outputs).copied().collect();
    let initializer =
        graph.initializer.iter().filter(|tensor| read.contains(tensor.name.as_str())).cloned().collect();
    let value_info = graph
        .value_info
        .iter()
        .filter(|value| made.contains(value.name.as_str()) && !ends.contains(value.name.as_str()))
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

/// Whether each node of `graph` is on the way from `inputs` to `outputs`.
fn needed_nodes(graph: &GraphProto, inputs: &[&str], outputs: &[&str]) -> Result<Vec<bool>, ExtractError> {
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let given: HashSet<&str> = constants.chain(inputs.iter().copied()).collect();
    let makers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let mut needed = vec![false; graph.node.len()];
    // Each value still to be made, with the node that reads it.
    let mut open: Vec<(&str, Option<&NodeProto>)> = outputs.iter().map(|&name| (name, None)).collect();
    while let Some((name, reader)) = open.pop() {
        if name.is_empty() || given.contains(name) {
            continue;
        }
        let Some(&index) = makers.get(name) else {
            return Err(unmade(graph, inputs, name, reader));
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

fn unmade(graph: &GraphProto, inputs: &[&str], name: &str, reader: Option<&NodeProto>) -> ExtractError {
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
