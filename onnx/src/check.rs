//! Limits on a graph that are checked before a backend reads it.
//!
//! A backend allocates what a graph asks for, and some recurse or loop over the numbers in it. The limits are far above
//! every graph that `hl-export` writes (docs/file-format.md#limits).

use std::collections::HashSet;

use crate::element::ElementType;
use crate::proto::{
    AttributeProto, DimensionValue, GraphProto, NodeProto, TensorProto, TypeValue, ValueInfoProto,
};
use crate::ranges::check_ranges;

/// The operators of taggers: those that `hl-export` writes, and others whose output is no larger than their inputs
/// imply. Operators whose output is as large as a constant says (`ConstantOfShape`, `Expand`, `Tile`, `Pad`, `Resize`,
/// `OneHot`) and those that run inner graphs are not among them. `Range` has limits of its own. What products, `Gather`,
/// `Concat` and broadcasts compute from large inputs is not limited.
const OPERATORS: [&str; 64] = [
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "Attention",
    "Cast",
    "Clip",
    "Concat",
    "Cos",
    "DequantizeLinear",
    "Div",
    "DynamicQuantizeLinear",
    "Equal",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "Gelu",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "LayerNormalization",
    "Less",
    "LessOrEqual",
    "Log",
    "MatMul",
    "MatMulInteger",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "QuantizeLinear",
    "RMSNormalization",
    "Range",
    "Reciprocal",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Round",
    "Shape",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// The most nodes, and the most initializers.
const MAX_NODES: usize = 200_000;
/// The most inputs and outputs of a node.
const MAX_ENDS: usize = 1024;
/// The longest name in bytes.
const MAX_NAME: usize = 1024;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 16;
/// The most attributes of a node, and the most integers of one.
const MAX_ATTRIBUTES: usize = 16;
/// The largest integer of an attribute: axes, counts and codes of types.
const MAX_ATTRIBUTE: i64 = 1 << 16;
/// The largest integer of a constant, such as a size or a position.
const MAX_INTEGER: i64 = i32::MAX as i64;
/// The largest dimension of a tensor without elements. Its size in the file does not limit what is computed from it.
const MAX_EMPTY_DIMENSION: i64 = 1 << 16;
/// The longest name of a dimension in bytes.
const MAX_DIMENSION_NAME: usize = 64;

/// Checks all limits of a graph.
pub(crate) fn check_graph(graph: &GraphProto) -> Result<(), String> {
    check_count("nodes", graph.node.len(), MAX_NODES)?;
    check_count("initializers", graph.initializer.len(), MAX_NODES)?;
    graph.initializer.iter().try_for_each(check_initializer)?;
    for value in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        check_value(value)?;
    }
    graph.node.iter().try_for_each(check_node)?;
    check_order(graph)?;
    check_ranges(graph)
}

fn check_count(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most { Err(format!("it has {count} {what}, at most {most} are read")) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), String> {
    match name.len() > MAX_NAME {
        true => {
            let beginning: String = name.chars().take(40).collect();
            Err(format!("the name `{beginning}...` has {} bytes, at most {MAX_NAME} are read", name.len()))
        }
        false => Ok(()),
    }
}

fn check_initializer(tensor: &TensorProto) -> Result<(), String> {
    let TensorProto { name, dims, data_type, .. } = tensor;
    check_name(name)?;
    if ElementType::from_code(*data_type).is_none() {
        return Err(format!("tensor `{name}` has elements of type {data_type}, which no tagger has"));
    }
    if dims.len() > MAX_RANK {
        return Err(format!("tensor `{name}` has {} dimensions, at most {MAX_RANK} are read", dims.len()));
    }
    if dims.contains(&0) && dims.iter().any(|dim| *dim > MAX_EMPTY_DIMENSION) {
        return Err(format!(
            "tensor `{name}` of shape {dims:?} has no elements, its dimensions are read up to {MAX_EMPTY_DIMENSION}"
        ));
    }
    match tensor.i64s().find(|integer| integer.unsigned_abs() > MAX_INTEGER.unsigned_abs()) {
        Some(integer) => Err(format!("tensor `{name}` holds {integer}, at most {MAX_INTEGER} is read")),
        None => Ok(()),
    }
}

/// Names of dimensions are read as formulas by some backends.
fn check_value(value: &ValueInfoProto) -> Result<(), String> {
    let name = &value.name;
    check_name(name)?;
    let Some(TypeValue::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Ok(());
    };
    let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    if dims.len() > MAX_RANK {
        return Err(format!("value `{name}` has {} dimensions, at most {MAX_RANK} are read", dims.len()));
    }
    for dim in dims {
        match &dim.value {
            Some(DimensionValue::DimValue(size)) if !(0..=MAX_INTEGER).contains(size) => {
                return Err(format!("value `{name}` has a dimension of {size}"));
            }
            Some(DimensionValue::DimParam(symbol)) if !is_symbol(symbol) => {
                let beginning: String = symbol.chars().take(MAX_DIMENSION_NAME).collect();
                return Err(format!("value `{name}` has a dimension `{beginning}`, expected a plain name"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_symbol(symbol: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    symbol.len() <= MAX_DIMENSION_NAME && symbol.chars().all(plain)
}

fn check_node(node: &NodeProto) -> Result<(), String> {
    let NodeProto { name, op_type, domain, input, output, attribute, .. } = node;
    [name, op_type].into_iter().chain(input).chain(output).try_for_each(|name| check_name(name))?;
    if !domain.is_empty() || !OPERATORS.contains(&op_type.as_str()) {
        let of = if domain.is_empty() { String::new() } else { format!(" of `{domain}`") };
        return Err(format!("node `{name}` has the operator `{op_type}`{of}, which no tagger has"));
    }
    for (what, count, most) in [
        ("inputs", input.len(), MAX_ENDS),
        ("outputs", output.len(), MAX_ENDS),
        ("attributes", attribute.len(), MAX_ATTRIBUTES),
    ] {
        check_count(what, count, most).map_err(|reason| format!("node `{name}`: {reason}"))?;
    }
    attribute.iter().try_for_each(|attribute| check_attribute(name, attribute))
}

fn check_attribute(node: &str, attribute: &AttributeProto) -> Result<(), String> {
    let fail = |what: String| Err(format!("attribute `{}` of node `{node}` {what}", attribute.name));
    check_name(&attribute.name)?;
    if attribute.g.is_some() || !attribute.graphs.is_empty() {
        return fail("holds a graph".into());
    }
    if attribute.t.is_some() || !attribute.tensors.is_empty() {
        return fail("holds a tensor".into());
    }
    let lengths = [attribute.floats.len(), attribute.ints.len(), attribute.strings.len()];
    if lengths.into_iter().any(|length| length > MAX_ATTRIBUTES) {
        return fail(format!("is a list of more than {MAX_ATTRIBUTES}"));
    }
    if attribute.s.iter().chain(&attribute.strings).any(|text| text.len() > MAX_NAME) {
        return fail(format!("is longer than {MAX_NAME} bytes"));
    }
    let mut integers = attribute.i.iter().chain(&attribute.ints);
    match integers.find(|integer| integer.unsigned_abs() > MAX_ATTRIBUTE.unsigned_abs()) {
        Some(integer) => fail(format!("is {integer}, at most {MAX_ATTRIBUTE} is read")),
        None => Ok(()),
    }
}

/// Each node may read only what is computed before it, so that there is no cycle.
fn check_order(graph: &GraphProto) -> Result<(), String> {
    let inputs = graph.input.iter().map(|value| value.name.as_str());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut known: HashSet<&str> = inputs.chain(constants).chain([""]).collect();
    for node in &graph.node {
        if let Some(input) = node.input.iter().find(|input| !known.contains(input.as_str())) {
            return Err(format!("node `{}` reads `{input}`, which nothing before it computes", node.name));
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    Ok(())
}
