//! The graph of an int8 file: the float32 graph with the nodes that read large matrices replaced.

use std::collections::HashSet;
use std::rc::Rc;

use hyperloader_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use hyperloader_onnx::{BuiltModel, Bytes, ElementType, Opset, Weight};

use super::matrix::{LEAST, LIMIT};
use crate::error::GraphError;
use crate::precision::Storage;
use crate::precision::content::{Content, FileGraph, floats};
use crate::precision::node::{node, output_name};
use crate::weights::{Source, TaskGraph};

/// The integer that a token's 0 becomes. Runtimes on x86 multiply unsigned by signed bytes, so tokens are unsigned.
const ZERO_POINT: u8 = 128;

const LIMIT_NAME: &str = "const/int8/limit";
const LEAST_NAME: &str = "const/int8/least";
const STEP_NAME: &str = "const/int8/step";
const ZERO_POINT_NAME: &str = "const/int8/zero_point";
const LAST_AXIS_NAME: &str = "const/int8/last_axis";

/// Suffix of the initializer that contains the scales of a matrix.
const SCALE: &str = ".scale";

/// `graph` as a file in int8: the weights that `storage` lowers as integers with scales, everything else as float32.
///
/// # Errors
/// Returns an error if a node reads such a weight in another way than as a matrix or a table of rows.
pub(crate) fn quantize_graph<'a>(
    graph: TaskGraph<'a>,
    storage: &Storage,
    opset: Opset,
) -> Result<FileGraph<'a>, GraphError> {
    let TaskGraph { mut model, weights } = graph;
    let mut matrices = HashSet::new();
    let mut initializers = Vec::new();
    for weight in weights {
        let shape = weight.source.layout.of_shape(&weight.dims);
        if weight.source.quantizable && storage.lowers(&weight.name, &shape) {
            matrices.insert(weight.name.clone());
            initializers.extend(integers_and_scales(weight));
        } else {
            initializers.push(floats(weight));
        }
    }
    if let Some(graph) = &mut model.graph {
        let mut rewriting = Rewriting { opset, nodes: Vec::new(), tokens: HashSet::new() };
        for node in std::mem::take(&mut graph.node) {
            match node.input.iter().find(|name| matrices.contains(*name)).cloned() {
                Some(matrix) => rewriting.rewrite(node, &matrix)?,
                None => rewriting.nodes.push(node),
            }
        }
        graph.node = rewriting.nodes;
        add_constants(graph);
    }
    Ok(BuiltModel { model, weights: initializers })
}

/// The two initializers that contain a quantized weight, in file order.
fn integers_and_scales(weight: Weight<Source<'_>>) -> [Weight<Content<'_>>; 2] {
    let weight = Rc::new(weight);
    // The rows of the source tensor are the output channels.
    let channels = weight.source.layout.of_shape(&weight.dims)[0];
    [
        Weight {
            name: weight.name.clone(),
            element_type: ElementType::I8,
            dims: weight.dims.clone(),
            source: Content::Integers(Rc::clone(&weight)),
        },
        Weight {
            name: format!("{}{SCALE}", weight.name),
            element_type: ElementType::F32,
            dims: vec![channels],
            source: Content::Scales(weight),
        },
    ]
}

/// Adds the constants that the rewritten nodes read. ONNX Runtime warns about unused ones.
fn add_constants(graph: &mut GraphProto) {
    let scalar = |name, element_type, bytes: &[u8]| {
        TensorProto::from_raw(name, element_type, &[], Bytes::copy_from_slice(bytes))
    };
    let constants = [
        scalar(LIMIT_NAME, ElementType::F32, &LIMIT.to_le_bytes()),
        scalar(LEAST_NAME, ElementType::F32, &LEAST.to_le_bytes()),
        scalar(STEP_NAME, ElementType::F32, &1_f32.to_le_bytes()),
        scalar(ZERO_POINT_NAME, ElementType::U8, &[ZERO_POINT]),
        TensorProto::from_raw(LAST_AXIS_NAME, ElementType::I64, &[1], (-1_i64).to_le_bytes().to_vec().into()),
    ];
    let read: HashSet<&str> = graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let constants: Vec<_> =
        constants.into_iter().filter(|tensor| read.contains(tensor.name.as_str())).collect();
    graph.initializer.extend(constants);
}

/// How a node reads a matrix.
enum Read {
    /// `MatMul` of tokens and a matrix `[in, out]`.
    Product,
    /// `Gemm` of tokens and the transpose of a matrix `[out, in]`.
    TransposedProduct,
    /// `Gather` of rows of a table `[ids, width]`.
    Rows,
}

impl Read {
    /// How `node` reads the matrix `name`; `None` if it does so in another way.
    fn of(node: &NodeProto, name: &str) -> Option<Self> {
        let [first, second] = &node.input[..] else { return None };
        match (node.op_type.as_str(), &node.attribute[..]) {
            ("MatMul", []) if first != name && second == name => Some(Self::Product),
            ("Gemm", [only])
                if first != name && second == name && *only == AttributeProto::int("transB", 1) =>
            {
                Some(Self::TransposedProduct)
            }
            ("Gather", [only]) if first == name && second != name && *only == first_axis() => {
                Some(Self::Rows)
            }
            _ => None,
        }
    }
}

fn first_axis() -> AttributeProto {
    AttributeProto::int("axis", 0)
}

/// The nodes of a graph during the rewriting.
struct Rewriting {
    opset: Opset,
    nodes: Vec<NodeProto>,
    /// Values for which the nodes that quantize tokens were added.
    tokens: HashSet<String>,
}

impl Rewriting {
    /// Adds the nodes that compute the output of `node` from the integers of `matrix`.
    fn rewrite(&mut self, node: NodeProto, matrix: &str) -> Result<(), GraphError> {
        let Some(read) = Read::of(&node, matrix) else {
            return Err(GraphError::Reader {
                node: node.name,
                op_type: node.op_type,
                weight: matrix.to_owned(),
            });
        };
        let [first, second] = [0, 1].map(|index| node.input[index].as_str());
        let (floats, scales) = match read {
            Read::Rows => self.rows(&node.name, matrix, second),
            Read::TransposedProduct => {
                let perm = vec![AttributeProto::ints("perm", &[1, 0])];
                let transposed = self.add(&node.name, "Transpose", &[matrix], perm);
                self.product(&node.name, first, &transposed, matrix)
            }
            Read::Product => self.product(&node.name, first, matrix, matrix),
        };
        self.nodes.push(NodeProto {
            input: vec![floats, scales],
            op_type: "Mul".to_owned(),
            attribute: Vec::new(),
            ..node
        });
        Ok(())
    }

    /// The rows `ids` of the integers of `matrix` as float32, and the scales of these rows.
    fn rows(&mut self, scope: &str, matrix: &str, ids: &str) -> (String, String) {
        let rows = self.add(scope, "Gather", &[matrix, ids], vec![first_axis()]);
        let scales = self.add(scope, "Gather_1", &[&format!("{matrix}{SCALE}"), ids], vec![first_axis()]);
        let scales = self.add(scope, "Unsqueeze", &[&scales, LAST_AXIS_NAME], vec![]);
        (self.cast_f32(scope, &rows), scales)
    }

    /// The integer product of the value `tokens` and `integers` `[in, out]` as float32 times the scales of its columns, and the
    /// factor of each of its rows. `matrix` is the name that the scales belong to.
    ///
    /// The two factors are not multiplied by each other: ONNX Runtime 1.31.1 may fuse that with the product
    /// (`MatMulIntegerToFloat`), and the logits of a MiniLM were then off by 3.2.
    fn product(&mut self, scope: &str, tokens: &str, integers: &str, matrix: &str) -> (String, String) {
        let (tokens, steps) = self.quantized_tokens(tokens);
        let sums = self.add(scope, "MatMulInteger", &[&tokens, integers, ZERO_POINT_NAME], vec![]);
        let sums = self.cast_f32(scope, &sums);
        (self.add(scope, "Mul", &[&sums, &format!("{matrix}{SCALE}")], vec![]), steps)
    }

    fn cast_f32(&mut self, scope: &str, integers: &str) -> String {
        let to = AttributeProto::int("to", ElementType::F32.code().into());
        self.add(scope, "Cast", &[integers], vec![to])
    }

    /// The value `tokens` `[.., width]` as 8-bit integers, and the factor of each token `[.., 1]`.
    fn quantized_tokens(&mut self, tokens: &str) -> (String, String) {
        let scope = format!("/int8/{}", tokens.trim_start_matches('/'));
        let names = ["QuantizeLinear", "Div"].map(|op| output_name(&scope, op));
        if self.tokens.insert(tokens.to_owned()) {
            let magnitudes = self.add(&scope, "Abs", &[tokens], vec![]);
            let keep = AttributeProto::int("keepdims", 1);
            let largest = match self.opset {
                Opset::V17 => {
                    let axes = AttributeProto::ints("axes", &[-1]);
                    self.add(&scope, "ReduceMax", &[&magnitudes], vec![axes, keep])
                }
                Opset::V18 => self.add(&scope, "ReduceMax", &[&magnitudes, LAST_AXIS_NAME], vec![keep]),
            };
            let largest = self.add(&scope, "Max", &[&largest, LEAST_NAME], vec![]);
            let steps = self.add(&scope, "Div", &[&largest, LIMIT_NAME], vec![]);
            let scaled = self.add(&scope, "Div_1", &[tokens, &steps], vec![]);
            self.add(&scope, "QuantizeLinear", &[&scaled, STEP_NAME, ZERO_POINT_NAME], vec![]);
        }
        names.into()
    }

    /// Adds the node `name` in `scope` and returns the name of its output.
    fn add(&mut self, scope: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.nodes.push(node(scope, name, inputs, attribute));
        output_name(scope, name)
    }
}
