//! Nodes that are added to a graph for a precision.

use hyperloader_onnx::proto::{AttributeProto, NodeProto};

/// The node `name` in `scope`. The operator is `name` up to an underscore.
pub(super) fn node(scope: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("{scope}/{name}"),
        op_type: name.split('_').next().unwrap_or(name).to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output_name(scope, name)],
        attribute,
        ..NodeProto::default()
    }
}

/// Name of the output of the node `name` in `scope`.
pub(super) fn output_name(scope: &str, name: &str) -> String {
    format!("{scope}/{name}_output_0")
}
