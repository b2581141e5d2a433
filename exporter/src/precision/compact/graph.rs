//! Adds the nodes that expand compact matrices to float32.

use std::collections::HashMap;
use std::rc::Rc;

use hyperloader_onnx::proto::{AttributeProto, NodeProto, TensorProto};
use hyperloader_onnx::{BuiltModel, ElementType, Weight};

use super::blocks::{BLOCK, OFFSET};
use crate::precision::content::{Content, FileGraph, floats};
use crate::precision::node::{node, output_name};
use crate::precision::{Precision, Storage};
use crate::weights::{Layout, Source, TaskGraph};

const SIXTEEN: &str = "const/int4/sixteen";
const OFFSET_NAME: &str = "const/int4/offset";

/// `graph` with the weights that `storage` lowers in fewer bits, and the nodes that expand them to float32.
pub(crate) fn expand_graph<'a>(graph: TaskGraph<'a>, storage: &Storage) -> FileGraph<'a> {
    let TaskGraph { mut model, weights } = graph;
    let mut expansion = Expansion::default();
    let mut initializers = Vec::new();
    for weight in weights {
        let shape = weight.source.layout.of_shape(&weight.dims);
        match (weight.source.quantizable && storage.lowers(&weight.name, &shape), storage.precision) {
            (false, _) => initializers.push(floats(weight)),
            (true, Precision::Int4) => initializers.extend(expansion.blocks(weight)),
            (true, precision) => initializers.push(expansion.halves(weight, precision)),
        }
    }
    if let Some(graph) = &mut model.graph {
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            if let Some(expanded) = expansion.expanded.get(input.as_str()) {
                input.clone_from(expanded);
            }
        }
        graph.node.splice(..0, expansion.nodes);
        graph.initializer.extend(expansion.constants);
    }
    BuiltModel { model, weights: initializers }
}

/// What is added to a graph.
#[derive(Default)]
struct Expansion {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Names of the expanded matrices by those of the stored ones.
    expanded: HashMap<String, String>,
}

impl Expansion {
    /// A matrix of 16-bit floats: one `Cast`.
    fn halves<'a>(&mut self, weight: Weight<Source<'a>>, precision: Precision) -> Weight<Content<'a>> {
        let Weight { name, dims, source, .. } = weight;
        let expanded = self.add(&name, "Cast", &[&name], vec![to_f32()]);
        self.expanded.insert(name.clone(), expanded);
        let element_type = if precision == Precision::Bf16 { ElementType::BF16 } else { ElementType::F16 };
        Weight { name, element_type, dims, source: Content::Halves(source, precision) }
    }

    /// A matrix of 4-bit integers in bytes, and its scales. The bytes become float32, in which halves of a byte are
    /// separated exactly: not all runtimes have operators for bits.
    fn blocks<'a>(&mut self, weight: Weight<Source<'a>>) -> [Weight<Content<'a>>; 2] {
        let weight = Rc::new(weight);
        let name = weight.name.as_str();
        let shape = weight.source.layout.of_shape(&weight.dims);
        let (rows, columns) = (shape[0], shape[1]);
        let scales = format!("{name}.scale");
        self.scalar(SIXTEEN, 16.0);
        self.scalar(OFFSET_NAME, OFFSET);
        let in_blocks = self.shape(&[rows, columns / BLOCK, BLOCK]);
        let in_rows = self.shape(&[rows, columns]);

        let bytes = self.add(name, "Cast", &[name], vec![to_f32()]);
        let sixteenth = self.add(name, "Div", &[&bytes, SIXTEEN], vec![]);
        let high = self.add(name, "Floor", &[&sixteenth], vec![]);
        let sixteenfold = self.add(name, "Mul", &[&high, SIXTEEN], vec![]);
        let low = self.add(name, "Sub", &[&bytes, &sixteenfold], vec![]);
        let both = self.add(name, "Concat", &[&low, &high], vec![AttributeProto::int("axis", 1)]);
        let integers = self.add(name, "Sub_1", &[&both, OFFSET_NAME], vec![]);
        let blocks = self.add(name, "Reshape", &[&integers, &in_blocks], vec![]);
        let factors = self.add(name, "Cast_1", &[&scales], vec![to_f32()]);
        let scaled = self.add(name, "Mul_1", &[&blocks, &factors], vec![]);
        let mut expanded = self.add(name, "Reshape_1", &[&scaled, &in_rows], vec![]);
        if weight.source.layout == Layout::Transposed {
            let perm = vec![AttributeProto::ints("perm", &[1, 0])];
            expanded = self.add(name, "Transpose", &[&expanded], perm);
        }
        self.expanded.insert(name.to_owned(), expanded);
        [
            Weight {
                name: name.to_owned(),
                element_type: ElementType::U8,
                dims: vec![rows, columns / 2],
                source: Content::Blocks(Rc::clone(&weight)),
            },
            Weight {
                name: scales,
                element_type: ElementType::F16,
                dims: vec![rows, columns / BLOCK, 1],
                source: Content::BlockScales(weight),
            },
        ]
    }

    /// Adds the node `name` for the weight `weight` and returns the name of its output.
    fn add(&mut self, weight: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let scope = format!("/expanded/{weight}");
        self.nodes.push(node(&scope, name, inputs, attribute));
        output_name(&scope, name)
    }

    fn scalar(&mut self, name: &str, number: f32) {
        self.constant(name, ElementType::F32, &[], number.to_le_bytes().to_vec());
    }

    /// The name of a constant shape.
    fn shape(&mut self, dims: &[usize]) -> String {
        let list: Vec<String> = dims.iter().map(usize::to_string).collect();
        let name = format!("const/int4/[{}]", list.join(","));
        let bytes = dims.iter().flat_map(|&dim| (dim as i64).to_le_bytes()).collect();
        self.constant(&name, ElementType::I64, &[dims.len()], bytes);
        name
    }

    /// Adds a constant, unless it is there.
    fn constant(&mut self, name: &str, element_type: ElementType, dims: &[usize], bytes: Vec<u8>) {
        if !self.constants.iter().any(|constant| constant.name == name) {
            self.constants.push(TensorProto::from_raw(name, element_type, dims, bytes.into()));
        }
    }
}

fn to_f32() -> AttributeProto {
    AttributeProto::int("to", ElementType::F32.code().into())
}
