//! Nodes and constants that are added to the decoder.

use hyperloader_onnx::ElementType;
use hyperloader_onnx::proto::{AttributeProto, NodeProto, TensorProto};

/// Begins the names of nodes and values that are added to the decoder, so that they clash with no other.
pub(super) const ADDED: &str = "hl-run/";

/// A node whose only output, and itself, are named `name` under [`ADDED`].
pub(super) fn node(op_type: &str, inputs: &[&str], name: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("{ADDED}{name}"),
        op_type: op_type.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![format!("{ADDED}{name}")],
        attribute,
        ..NodeProto::default()
    }
}

/// A constant of int64.
pub(super) fn integers(name: &str, numbers: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    TensorProto::from_raw(name, ElementType::I64, &[numbers.len()], bytes.into())
}
